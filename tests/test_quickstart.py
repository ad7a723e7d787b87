"""The whole job in small: fewer scenes, a smaller model, one epoch; everything else as a user gets it."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import smca
from smca import quickstart
from smca.errors import OutputError
from smca.training.launch import train
from smca.training.request import TrainRequest
from tests.training.runs import SMALL

REMOTE = re.compile(r"https?://|//[a-z]", re.IGNORECASE)


class Sources(HTMLParser):
    """Collects the tags of a page and everything it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]


@pytest.fixture(scope="module")
def asked() -> list[TrainRequest]:
    """The requests for training as quickstart made them."""
    return []


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, asked: list[TrainRequest]) -> Path:
    def train_small(request: TrainRequest) -> Path:
        asked.append(request)
        changes = {"epochs": 1, "batch": 4, "image_size": 96, "device": "cpu", "precision": "fp32"}
        return train(dataclasses.replace(request, overrides=(*request.overrides, *SMALL), **changes))

    folder = tmp_path_factory.mktemp("quickstart") / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(quickstart, "TRAIN_IMAGES", 8)
        patched.setattr(quickstart, "VAL_IMAGES", 4)
        patched.setattr(quickstart, "train", train_small)
        assert quickstart.quickstart(folder, seed=3) == folder / "index.html"
    return folder


def test_it_trains_the_full_method_on_its_scenes(out: Path, asked: list[TrainRequest]) -> None:
    assert [(one.data, one.recipe, one.out, one.seed) for one in asked] == [(out / "data", "smca-tiny", out / "run", 3)]
    assert "flip=0" in asked[0].overrides
    assert asked[0].epochs is None
    assert len(json.loads((out / "data" / "val.json").read_text())["images"]) == 4


def test_the_summary_has_the_numbers(out: Path) -> None:
    summary = json.loads((out / "summary.json").read_text())
    assert 0 <= summary["AP"] <= summary["AP50"] <= 1
    assert 0 < summary["training_seconds"] < summary["seconds"]
    assert summary["seed"] == 3
    assert set(summary["per_class"]) == set("0123456789")
    last = json.loads((out / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert summary["AP50"] == pytest.approx(last["AP50"], abs=1e-6)


def test_the_page_is_one_file_that_needs_nothing_else(out: Path) -> None:
    text = (out / "index.html").read_text()
    page = Sources()
    page.feed(text)
    assert all(source.startswith(("data:image/", "#")) for source in page.loaded)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    visible = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert not REMOTE.search(visible)
    assert "@import" not in visible
    shown = 2 + len(list((out / "predictions").glob("*.jpg"))) + len(list((out / "explain").iterdir()))
    assert page.tags.count("img") == shown
    assert all(heading in text for heading in ("Convergence", "Detections", "Where the queries looked", "AP by class"))


def test_pictures_of_detections_and_of_weight_maps_are_kept(out: Path) -> None:
    entries = json.loads((out / "predictions" / "predictions.json").read_text())
    assert entries
    assert all("val_" in entry["image"] and entry["width"] == 320 for entry in entries)
    for entry in entries[: quickstart.EXPLAINED]:
        assert Image.open(out / "explain" / Path(entry["image"]).stem / "overview.png").width > 0


def test_the_model_left_behind_predicts(out: Path) -> None:
    summary = json.loads((out / "summary.json").read_text())
    model = smca.load(summary["model"])
    detections = model.predict([Image.new("RGB", (200, 100))], threshold=0.0)[0]
    assert len(detections) == 100
    assert (detections.boxes[:, 2] <= 200).all()
    assert (detections.boxes[:, 3] <= 100).all()


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="in use"):
        quickstart.quickstart(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
