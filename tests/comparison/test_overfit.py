"""Every system of the comparison learns eight pictures by heart, trained, saved, loaded and evaluated as users do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from smca.data.scenes import make_scenes
from smca.evaluation.command import evaluate_folder
from smca.sizes import ImageSize
from smca.training.launch import train
from smca.training.recipes.contestants import PEERS
from smca.training.request import TrainRequest

COPIES = 20  # of every picture in an epoch, so that few epochs are saved and evaluated
EPOCHS = 10


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


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_eight_pictures_are_learned_by_heart(name: str, eight: Path, tmp_path: Path) -> None:
    torch.set_flush_denormal(True)
    switches = ("flip=0", "crop_epochs=0", "precision=fp32", "warmup=.02", "reference_factor=.2")
    request = TrainRequest(eight, f"{name}-tiny", tmp_path / "run", epochs=EPOCHS, image_size=96, overrides=switches)
    run = train(request)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert evaluate_folder(run / "best", eight)["AP"] == pytest.approx(max(row["AP"] for row in rows), abs=1e-6)
    assert max(row["AP"] for row in rows) > 0.8
