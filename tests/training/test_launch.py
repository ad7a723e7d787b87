"""What is refused before a run begins, and what a run leaves behind."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import smca
from smca.errors import ConfigurationError, DataError, DeviceError, ModelError, OutputError, SmcaError, WeightsError
from smca.files import LOCK
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training import launch
from smca.training.run_folder import RunFolder
from tests.training.runs import small_request


def edited(scenes: Path, out: Path, change: Callable[[dict[str, Any]], None], split: str = "train") -> Path:
    """A copy of the scenes with changed annotations."""
    shutil.copytree(scenes, out)
    content = json.loads((out / f"{split}.json").read_text())
    change(content)
    (out / f"{split}.json").write_text(json.dumps(content))
    return out


def refused(kind: type[SmcaError], message: str, folder: Path, *overrides: str, **options: Any) -> None:
    """Training is refused in one line and leaves nothing."""
    before = sorted(folder.rglob("*"))
    request = small_request(options.pop("data"), options.pop("out", folder / "run"), *overrides, **options)
    with pytest.raises(kind, match=message) as caught:
        launch.train(request)
    assert "\n" not in str(caught.value)
    assert sorted(folder.rglob("*")) == before


def test_a_run_leaves_models_numbers_and_what_it_was(scenes: Path, tmp_path: Path) -> None:
    run = launch.train(small_request(scenes, tmp_path / "run"))
    assert run == tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        LOCK,
        "run.json", "recipe.yaml", "metrics.jsonl", "report.html", "tensorboard", "best", "last", "checkpoints",
    }  # fmt: skip
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 2), (2, 4)]
    assert all(math.isfinite(row["loss"]) and row["seconds"] > 0 and 0 <= row["AP"] <= row["AP50"] for row in rows)
    assert rows[1]["loss"] < 1.2 * rows[0]["loss"]
    assert list((run / "tensorboard").rglob("events.*"))
    detections = smca.load(run / "best").predict([scenes / "images" / "val_00000.jpg"], threshold=0.0)
    assert len(detections[0]) == 100
    assert set(detections[0].names) <= set("0123456789")


def test_pixels_are_normalised_as_the_backbone_expects(scenes: Path, tmp_path: Path) -> None:
    run = launch.train(
        small_request(
            scenes, tmp_path / "run", "backbone=timm/tf_efficientnet_lite0", "backbone_norm=frozen", "image_size=64"
        )
    )
    assert SmcaImageProcessor.from_pretrained(run / "best").image_mean == (0.5,) * 3


def test_a_run_is_named_after_data_and_recipe(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = small_request(scenes, tmp_path, dry_run=True)
    assert launch.train(launch.dataclasses.replace(request, out=None)) == Path("runs/scenes-smca-tiny")


def test_a_dry_run_writes_nothing(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch.train(small_request(scenes, tmp_path / "run", dry_run=True))
    assert not list(tmp_path.iterdir())
    assert "8 train, 4 val images, 10 classes" in capsys.readouterr().out


def test_a_part_of_train_can_stand_for_val(scenes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    (data / "val.json").unlink()
    refused(DataError, "--val-fraction 0.2", tmp_path, data=data)
    launch.train(small_request(data, tmp_path / "run", val_fraction=0.25, epochs=1))
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_start_from_another_run_has_its_weights(scenes: Path, tmp_path: Path) -> None:
    first = launch.train(small_request(scenes, tmp_path / "first", epochs=1))
    frozen = ("backbone", "encoder", "decoder", "input_projection", "box_head")
    second = launch.train(small_request(scenes, tmp_path / "second", epochs=1, init=str(first / "last"), freeze=frozen))
    old, new = (load_file(run / "last" / "model.safetensors") for run in (first, second))
    assert {name for name in old if not torch.equal(old[name], new[name])} == {"class_head.weight", "class_head.bias"}


def test_data_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(DataError, "no data at .*nowhere", tmp_path, data=tmp_path / "nowhere")
    refused(DataError, "no data set recognised", tmp_path, data=tmp_path / "empty")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_without_an_image(split: str, scenes: Path, tmp_path: Path) -> None:
    def lose(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["file_name"] = f"lost-{image['file_name']}"

    def empty(content: dict[str, Any]) -> None:
        content.update(images=[], annotations=[])

    refused(DataError, f"lost-{split}_00000", tmp_path, data=edited(scenes, tmp_path / "lost", lose, split))
    refused(DataError, f"{split}.json: images is empty", tmp_path, data=edited(scenes, tmp_path / "none", empty, split))


def test_missing_images_are_skipped_and_said_or_strictly_refused(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    (data / "images" / "train_00003.jpg").unlink()
    refused(DataError, "train_00003.jpg", tmp_path, data=data, strict=True)
    launch.train(small_request(data, tmp_path / "run", dry_run=True))
    out = capsys.readouterr().out
    assert "train_00003.jpg" in out
    assert "7 train, 4 val images" in out


def test_more_objects_than_queries(scenes: Path, tmp_path: Path) -> None:
    def crowd(content: dict[str, Any]) -> None:
        one = content["annotations"][0]
        more = [{**one, "id": 10_000 + i, "image_id": 3} for i in range(40)]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 3] + more

    data = edited(scenes, tmp_path / "data", crowd)
    refused(ConfigurationError, r"train_00002\.jpg has 40 objects.*14 queries.*num_queries=40", tmp_path, data=data)
    launch.train(small_request(data, tmp_path / "run", "num_queries=40", dry_run=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "in use: choose another"),
        ("other.txt", "in use: choose another"),
        ("run.json", "in use: .*smca resume .*run"),
    ],
    ids=["file", "folder", "run"],
)
def test_an_output_folder_in_use(content: str | None, message: str, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    if content is None:
        run.write_text("mine")
    else:
        run.mkdir()
        (run / content).write_text("{}")
    refused(OutputError, message, tmp_path, data=scenes)


def test_an_empty_output_folder_is_taken(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    launch.train(small_request(scenes, tmp_path / "run", epochs=1))
    assert (tmp_path / "run" / "best").is_dir()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(scenes: Path, tmp_path: Path) -> None:
    refused(DeviceError, "no CUDA device", tmp_path, data=scenes, device="cuda")


@pytest.mark.parametrize(
    ("kind", "message", "options"),
    [
        (WeightsError, "cannot read nowhere.pth", {"backbone_weights": "nowhere.pth"}),
        (WeightsError, "no ImageNet weights for backbone 'plain'", {"backbone_weights": "imagenet"}),
        (WeightsError, "--freeze decoders", {"freeze": ("decoders",)}),
        (ModelError, "nowhere", {"init": "nowhere"}),
    ],
)
def test_weights_and_parts_that_do_not_exist(
    kind: type[SmcaError], message: str, options: dict[str, Any], scenes: Path, tmp_path: Path
) -> None:
    refused(kind, message, tmp_path, data=scenes, **options)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("num_querys=9", "Did you mean 'num_queries'"),
        ("num_queries=many", "expected int, got str"),
        ("backbone=resnet51", "Did you mean 'resnet50'"),
        ("backbone=timm/resnet18x", "timm has no model"),
        ("levels=[]", "levels"),
    ],
)
def test_settings_that_do_not_exist(override: str, message: str, scenes: Path, tmp_path: Path) -> None:
    refused(ConfigurationError, message, tmp_path, override, data=scenes)


def test_a_batch_that_two_processes_cannot_share(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(ConfigurationError, "batch 3 is not a multiple of 2 processes", tmp_path, data=scenes, batch=3)


ENOUGH_TO_LEARN = (
    "backbone_widths=[16,24,48,64,64]",
    "d_model=64",
    "num_heads=4",
    "ffn_dim=128",
    "num_queries=24",
    "query_groups=1",
    "image_size=128",
    "short_sides=[128]",
    "long_side=128",
    "flip=0",
    "crop=0",
    "jitter=0",
    "lr=1e-3",
    "backbone_lr=1e-3",
    "batch=4",
    "weight_decay=0",
)


def repeated(content: dict[str, Any], times: int) -> dict[str, Any]:
    """The same images and objects several times over, so that an epoch has that many more updates."""
    images = [{**one, "id": one["id"] + 100 * i} for i in range(times) for one in content["images"]]
    objects = [
        {**one, "id": one["id"] + 1000 * i, "image_id": one["image_id"] + 100 * i}
        for i in range(times)
        for one in content["annotations"]
    ]
    return {**content, "images": images, "annotations": objects}


@pytest.mark.slow
def test_eight_scenes_are_learnt_by_heart_in_400_updates(scenes: Path, tmp_path: Path) -> None:
    """AP is measured on the eight training images themselves; .987 when this was written."""
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    content = json.loads((data / "train.json").read_text())
    (data / "val.json").write_text(json.dumps(content))
    (data / "train.json").write_text(json.dumps(repeated(content, 20)))
    run = launch.train(small_request(data, tmp_path / "run", *ENOUGH_TO_LEARN, epochs=10, image_size=None))
    rows = RunFolder(run).metrics()
    assert rows[-1]["step"] == 400
    assert rows[-1]["AP"] > 0.9
    assert rows[-1]["loss"] < rows[0]["loss"] / 10
    assert rows[-1]["best_threshold"] == pytest.approx(smca.load(run / "last").config.threshold)
