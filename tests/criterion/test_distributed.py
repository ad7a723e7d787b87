"""Two processes with half a batch each learn what one process with the whole batch learns."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import distributed, multiprocessing

from smca.criterion import SetCriterion
from tests.criterion.batches import random_batch

COUNTS = [3, 1, 0, 0]


def half_loss(rank: int, kind: Literal["focal", "softmax"], folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    whole = random_batch(COUNTS, outputs=5)
    mine = slice(2 * rank, 2 * rank + 2)
    loss, _ = SetCriterion(kind)(whole.logits[:, mine], whole.boxes[:, mine], whole.targets[mine])
    torch.save(loss.detach(), f"{folder}/{rank}")
    distributed.destroy_process_group()


@pytest.mark.parametrize("kind", ["focal", "softmax"])
def test_mean_over_processes_is_the_loss_of_all(kind: Literal["focal", "softmax"], tmp_path: Path) -> None:
    multiprocessing.start_processes(half_loss, (kind, str(tmp_path)), nprocs=2, start_method="fork")
    whole = random_batch(COUNTS, outputs=5)
    expected, _ = SetCriterion(kind)(whole.logits, whole.boxes, whole.targets)
    mean = torch.stack([torch.load(tmp_path / str(rank)) for rank in range(2)]).mean()
    assert torch.allclose(mean, expected)
