"""Every peer learns eight pictures by heart, trained, saved, loaded and evaluated as users do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from smca.data.scenes import make_scenes
from smca.evaluation.command import evaluate_model
from smca.inference.loading import load
from smca.sizes import ImageSize
from smca.training.launch import train
from smca.training.recipes.contestants import PEERS
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder

COPIES = 20  # of every picture in an epoch, so that few epochs are saved and evaluated
ENOUGH = 0.8
CONSTANT = ("schedule=step", "drop_at=1")
QUICK = (96, 16, CONSTANT)
DENSE = (128, 9, ())  # pixels, epochs, schedule: theirs need the rate to fall
SETTINGS = dict.fromkeys(PEERS, QUICK) | dict.fromkeys(("faster-rcnn", "fcos", "tsp-fcos", "tsp-rcnn"), DENSE)


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Eight scenes of so many pixels, many times in train and once in val."""

    def make(side: int) -> Path:
        place = tmp_path_factory.mktemp("eight") / "scenes"
        folder = make_scenes(place, images=16, val_images=8, seed=0, size=ImageSize(side, side))
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

    return make


class EnoughError(Exception):
    """The pictures are learned."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_eight_pictures_are_learned_by_heart(
    name: str, eight: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RunFolder.write_metrics

    def watched(folder: RunFolder, row: dict[str, Any]) -> None:
        write(folder, row)
        if row["AP"] > ENOUGH:
            raise EnoughError

    monkeypatch.setattr(RunFolder, "write_metrics", watched)
    torch.set_flush_denormal(True)
    side, epochs, schedule = SETTINGS[name]
    data = eight(side)
    switches = ("flip=0", "precision=fp32", "warmup=.02", "reference_factor=.2", "crop_epochs=0", *schedule)
    request = TrainRequest(
        data, f"{name}-tiny", tmp_path / "run", epochs=epochs, image_size=side, overrides=switches, device="cpu"
    )
    with pytest.raises(EnoughError):
        train(request)
    best = RunFolder(tmp_path / "run").metrics()[-1]["AP"]
    assert evaluate_model(load(tmp_path / "run" / "best"), data)["AP"] == pytest.approx(best, abs=1e-6)
