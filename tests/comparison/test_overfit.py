"""Every system of the comparison learns eight pictures by heart, trained, saved, loaded and evaluated as users do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from smca.data.scenes import make_scenes
from smca.evaluation.command import evaluate_folder
from smca.sizes import ImageSize
from smca.training.launch import train
from smca.training.recipes.contestants import PEERS
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder

COPIES = 20  # of every picture in an epoch, so that few epochs are saved and evaluated
EPOCHS = 16
ENOUGH = 0.8


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight scenes, many times in train and once in val."""
    folder = make_scenes(
        tmp_path_factory.mktemp("eight") / "scenes", images=16, val_images=8, seed=0, size=ImageSize(96, 96)
    )
    scenes = json.loads((folder / "train.json").read_text())
    (folder / "val.json").write_text(json.dumps(scenes))
    for kind, key in (("images", "id"), ("annotations", "image_id")):
        scenes[kind] = [
            {**one, "id": one["id"] + copy * 10_000, key: one[key] + copy * 10_000}
            for copy in range(COPIES)
            for one in scenes[kind]
        ]
    (folder / "train.json").write_text(json.dumps(scenes))
    return folder


class EnoughError(Exception):
    """The pictures are learned."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_eight_pictures_are_learned_by_heart(
    name: str, eight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a constant rate, until they are."""
    write = RunFolder.write_metrics

    def watched(folder: RunFolder, row: dict[str, Any]) -> None:
        write(folder, row)
        if row["AP"] > ENOUGH:
            raise EnoughError

    monkeypatch.setattr(RunFolder, "write_metrics", watched)
    torch.set_flush_denormal(True)
    switches = (
        "flip=0",
        "crop_epochs=0",
        "precision=fp32",
        "warmup=.02",
        "schedule=step",
        "drop_at=1",
        "reference_factor=.2",
    )
    request = TrainRequest(eight, f"{name}-tiny", tmp_path / "run", epochs=EPOCHS, image_size=96, overrides=switches)
    with pytest.raises(EnoughError):
        train(request)
    best = RunFolder(tmp_path / "run").metrics()[-1]["AP"]
    assert evaluate_folder(tmp_path / "run" / "best", eight)["AP"] == pytest.approx(best, abs=1e-6)
