"""Two processes that saw overlapping parts of a split report what one process reports."""

from __future__ import annotations

import pickle
from pathlib import Path

from torch import distributed, multiprocessing

from smca.evaluation.coco import CocoEvaluator
from tests.evaluation.splits import random_detections, random_split

PARTS = ((0, 2, 4, 6), (1, 3, 5, 0))


def evaluator_of(*parts: tuple[int, ...]) -> CocoEvaluator:
    split = random_split(7, 8)
    found = random_detections(split, 9)
    evaluator = CocoEvaluator(split)
    for index in (index for part in parts for index in part):
        evaluator.add(index, *found[index])
    return evaluator


def gather_part(rank: int, folder: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    evaluator = evaluator_of(PARTS[rank])
    evaluator.gather()
    Path(folder, str(rank)).write_bytes(pickle.dumps(evaluator))
    distributed.destroy_process_group()


def test_gathered_summary_is_that_of_the_whole_split(tmp_path: Path) -> None:
    multiprocessing.start_processes(gather_part, (str(tmp_path),), nprocs=2, start_method="fork")
    expected = evaluator_of(*PARTS).summary()
    gathered = [pickle.loads((tmp_path / str(rank)).read_bytes()) for rank in range(2)]
    assert [evaluator.summary() for evaluator in gathered] == [expected, expected]


def test_one_process_has_nothing_to_gather() -> None:
    evaluator = evaluator_of(*PARTS)
    before = evaluator.summary()
    evaluator.gather()
    assert evaluator.summary() == before
