"""What `smca explain` and `model.explain` tell: detections, maps of their queries, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from smca.errors import ConfigurationError, DataError, ModelError, OutputError
from smca.inference.explain import explain, explain_file
from smca.inference.loading import load
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.sizes import ImageSize
from tests.modeling.tiny import small_config, stir

FILES = {"overview.png", "explain.json", "explain.npz"}


@pytest.fixture
def photo(tmp_path: Path, pictures: list[np.ndarray]) -> Path:
    """Noise of 50 x 90 pixels."""
    Image.fromarray(pictures[1]).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def saved(folder: Path, **switches: Any) -> Path:
    """A folder with a small model of random weights."""
    torch.manual_seed(0)
    stir(SmcaForObjectDetection(small_config(**switches))).save_pretrained(folder)
    SmcaImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


@pytest.fixture
def detr_folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "detr", levels=("c4",), encoder=("intra",), modulation="none", box_prior=False)


def written(folder: Path) -> tuple[set[str], list[dict[str, Any]]]:
    for path in folder.glob("*.png"):
        assert Image.open(path).getextrema() != ((255, 255),) * 3
    return {path.name for path in folder.iterdir()}, json.loads((folder / "explain.json").read_text())["detections"]


def test_pictures_and_numbers_of_the_best_detections(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    explain_file(model_folder, photo, tmp_path / "out", threshold=0.0, most=2)
    names, rows = written(tmp_path / "out")
    assert names == FILES | {"detection-1.png", "detection-2.png"}
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    for row in rows:
        assert sum(row["scale_weights"].values()) == pytest.approx(1, abs=1e-5)
        assert list(row["scale_weights"]) == ["c4", "c5", "c6"]
        assert 0 <= row["centre"]["x"] <= 90
        assert 0 <= row["centre"]["y"] <= 50
        assert {name: len(heads) for name, heads in row["heads"].items()} == {"c4": 4, "c5": 4, "c6": 4}
        assert 0 <= row["query"] < 12


def test_arrays_of_the_file_are_those_of_python_and_draw_the_maps(
    model_folder: Path, photo: Path, tmp_path: Path
) -> None:
    """explain.npz, explain.json and model.explain say the same; G follows from its centres and sigmas."""
    explain_file(model_folder, photo, tmp_path / "out", threshold=0.0, most=3)
    model = load(model_folder)
    assert isinstance(model, SmcaForObjectDetection)
    found = model.explain(photo, threshold=0.0, most=3)
    assert json.loads((tmp_path / "out" / "explain.json").read_text()) == found.to_json()
    with np.load(tmp_path / "out" / "explain.npz") as file:
        arrays = dict(file)
    assert arrays.keys() == found.arrays().keys()
    assert all(np.array_equal(arrays[name], value) for name, value in found.arrays().items())
    for name, offset in zip(arrays["level_names"], arrays["offsets"], strict=True):
        g = arrays[f"weight_maps_{name}"]
        centre, sigma = (arrays[f"{kind}_{name}"][:, :, None, None] for kind in ("head_centres", "sigmas"))
        y, x = np.indices(g.shape[-2:]) + offset
        away = ((x - centre[..., 0]) / sigma[..., 0]) ** 2 + ((y - centre[..., 1]) / sigma[..., 1]) ** 2
        assert np.exp(-away / 2) == pytest.approx(g, rel=1e-3, abs=1e-5)
        plain, attention = arrays[f"plain_attention_{name}"], arrays[f"co_attention_{name}"]
        again = plain * g / (plain * g).sum(axis=(2, 3), keepdims=True)
        assert again == pytest.approx(attention, rel=1e-3, abs=1e-5)


def test_python_takes_files_pictures_and_arrays(
    model_folder: Path, pictures: list[np.ndarray], photo: Path, tmp_path: Path
) -> None:
    model = load(model_folder)
    assert isinstance(model, SmcaForObjectDetection)
    wanted = model.explain(photo, threshold=0.0).arrays()
    for source in (str(photo), Image.open(photo), pictures[1], torch.from_numpy(pictures[1]).permute(2, 0, 1)):
        found = model.explain(source, threshold=0.0).arrays()
        assert all(np.array_equal(found[name], value) for name, value in wanted.items())
    assert len(model.explain(photo, threshold=0.0)) == 8
    for mode in ("L", "RGBA", "I;16"):
        Image.fromarray(pictures[1][..., 0]).convert("I;16" if mode == "I;16" else mode).save(tmp_path / "mode.png")
        assert model.explain(tmp_path / "mode.png").image.mode == "RGB"


@pytest.mark.parametrize("most", [0, -1])
def test_less_than_one_detection_is_refused(model_folder: Path, photo: Path, most: int) -> None:
    model = load(model_folder)
    assert isinstance(model, SmcaForObjectDetection)
    with pytest.raises(ConfigurationError, match=f"most is {most}"):
        model.explain(photo, most=most)


def test_a_prediction_that_is_not_finite_is_said(model_folder: Path, photo: Path) -> None:
    model = load(model_folder)
    assert isinstance(model, SmcaForObjectDetection)
    torch.nn.init.constant_(model.class_head.bias, float("nan"))
    with pytest.raises(ModelError, match=r"photo\.png is NaN"):
        model.explain(photo)


def test_padding_is_no_part_of_what_the_model_saw(photo: Path, tmp_path: Path) -> None:
    """A processor that pads every image, and one that makes no mask, change nothing but the map's size."""
    folder = saved(tmp_path / "model")
    model = load(folder)
    assert isinstance(model, SmcaForObjectDetection)
    alone = model.explain(photo, threshold=0.0, most=3)
    assert alone.seen == ImageSize(height=53, width=96)
    for switches in ({"pad_size": {"height": 128, "width": 160}}, {"do_pad": False}):
        SmcaImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}, **switches).save_pretrained(folder)
        found = model.explain(photo, threshold=0.0, most=3)
        assert found.seen == alone.seen
        assert found.detections.boxes == pytest.approx(alone.detections.boxes, abs=0.01)
        assert found.spreads(found.levels[0], 0)[0].centre == pytest.approx(
            alone.spreads(alone.levels[0], 0)[0].centre, abs=0.01
        )


def test_detections_are_those_of_predict(model_folder: Path, pictures: list[np.ndarray]) -> None:
    model = load(model_folder)
    assert isinstance(model, SmcaForObjectDetection)
    image = torch.from_numpy(pictures[1]).permute(2, 0, 1)
    for threshold in (None, 0.0):
        found = explain(model, image, threshold, most=36).detections
        predicted = model.predict([pictures[1]], threshold)[0]
        assert found.names == predicted.names
        assert found.scores == pytest.approx(predicted.scores, abs=1e-5)
        assert found.boxes == pytest.approx(predicted.boxes, abs=0.01)
    assert len(found) == 36


def test_maps_belong_to_the_queries_of_the_detections(model_folder: Path, pictures: list[np.ndarray]) -> None:
    model = load(model_folder)
    assert isinstance(model, SmcaForObjectDetection)
    image = torch.from_numpy(pictures[1]).permute(2, 0, 1)
    found = explain(model, image, threshold=0.0, most=4)
    assert [level.name for level in found.levels] == ["c4", "c5", "c6"]
    assert [level.stride for level in found.levels] == [16, 32, 64]
    for level in found.levels:
        rows, columns = -(-found.seen.height // level.stride), -(-found.seen.width // level.stride)
        assert level.weight_maps is not None
        assert level.weight_maps.shape == level.co_attention.shape == (4, 4, rows, columns)
        assert level.co_attention.sum(axis=(2, 3)) == pytest.approx(np.ones((4, 4)), abs=1e-5)
        assert (level.weight_maps >= 0).all()
        assert (level.weight_maps <= 1).all()
    best = explain(model, image, threshold=0.0, most=1)
    assert np.array_equal(best.queries, found.queries[:1])
    assert np.allclose(best.levels[0].co_attention, found.levels[0].co_attention[:1])


def test_detr_has_attention_but_no_maps(detr_folder: Path, photo: Path, tmp_path: Path) -> None:
    explain_file(detr_folder, photo, tmp_path / "out", threshold=0.0, most=2)
    names, rows = written(tmp_path / "out")
    assert names == FILES | {"detection-1.png", "detection-2.png"}
    assert all(row.keys() == {"label", "score", "box", "query"} for row in rows)
    with np.load(tmp_path / "out" / "explain.npz") as arrays:
        assert {name for name in arrays if name.endswith("c4")} == {"co_attention_c4"}


@pytest.mark.parametrize(
    "switches",
    [
        {"levels": ("c5",)},
        {"modulation": "head-shared"},
        {"modulation": "none"},
        {"levels": ("c3", "c4", "c5", "c6"), "halve_finest": True, "encoder": ("depthwise",), "spread": "product"},
        {"levels": ("c4", "c5"), "scale_selection": False},
    ],
    ids=["single level", "head-shared", "box prior alone", "released", "no scale selection"],
)
def test_every_kind_of_model_is_drawn(switches: dict[str, Any], photo: Path, tmp_path: Path) -> None:
    explanation = explain_file(saved(tmp_path / "model", **switches), photo, tmp_path / "out", threshold=0.0, most=1)
    names, _ = written(tmp_path / "out")
    assert names == FILES | {"detection-1.png"}
    if "halve_finest" in switches:
        assert [level.name for level in explanation.levels] == ["c3", "c4", "c5", "c6"]
        assert [level.stride for level in explanation.levels] == [16, 16, 32, 64]
        assert [level.products is None for level in explanation.levels] == [False] * 4


def test_an_earlier_run_leaves_no_picture_behind(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    explain_file(model_folder, photo, tmp_path / "out", threshold=0.0, most=3)
    explain_file(model_folder, photo, tmp_path / "out", threshold=0.0, most=1)
    assert written(tmp_path / "out")[0] == FILES | {"detection-1.png"}


def test_no_detection_gives_a_picture_that_says_why(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    explanation = explain_file(model_folder, photo, tmp_path / "out", threshold=1.0)
    assert written(tmp_path / "out") == (FILES, [])
    assert f"{explanation.highest_score:.3f}" in explanation.shortfall
    best = explain_file(model_folder, photo, tmp_path / "out", threshold=0.0, most=1)
    assert best.highest_score == explanation.highest_score == pytest.approx(best.detections.scores[0])
    with np.load(tmp_path / "out" / "explain.npz") as arrays:
        assert len(arrays["boxes"]) == len(arrays["weight_maps_c4"]) == 1


def test_an_image_of_its_own_is_never_replaced(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    for name in ("overview.png", "detection-7.png"):
        mine = photo.rename(tmp_path / name)
        before = mine.read_bytes()
        with pytest.raises(OutputError, match=name):
            explain_file(model_folder, mine, tmp_path, threshold=0.0)
        assert mine.read_bytes() == before
        photo = mine
    explain_file(model_folder, photo.rename(tmp_path / "photo.png"), tmp_path, threshold=0.0, most=1)
    assert {"overview.png", "photo.png", "detection-1.png"} <= {path.name for path in tmp_path.iterdir()}


def test_what_cannot_be_explained_leaves_nothing(model_folder: Path, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.png"):
        explain_file(model_folder, tmp_path / "nowhere.png", tmp_path / "out")
    with pytest.raises(ModelError, match="nowhere"):
        explain_file(tmp_path / "nowhere", photo, tmp_path / "out")
    assert not (tmp_path / "out").exists()
