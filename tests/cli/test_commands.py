"""Each command from its words to its files, on tiny data and an untrained model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from smca.cli.recipes import FIELDS
from smca.modeling.precision import cpu_has_bfloat16
from smca.training import launch
from smca.training.recipes import GROUPS
from smca.training.request import TrainRequest
from tests.cli.conftest import Smca
from tests.inference.videos import write_video
from tests.interchange.checkpoints import detr_shapes, write

NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def photo(folder: Path) -> Path:
    Image.new("RGB", (160, 120), (90, 120, 150)).save(folder / "photo.png")
    return folder / "photo.png"


def test_recipes_are_listed_for_people_and_machines(smca: Smca, tmp_path: Path) -> None:
    status, out, _ = smca("recipes", "--json", "recipes.json")
    rows = json.loads((tmp_path / "recipes.json").read_text())
    assert status == 0
    assert {"smca-r50", "smca-r50-single-scale", "smca-r101", "smca-tiny", "detr-tiny"} <= {row["name"] for row in rows}
    assert all(row["name"] in out for row in rows)
    assert all(row["command"].startswith("smca train") for row in rows)
    assert all(set(row) == set(FIELDS) for row in rows)


@pytest.mark.parametrize("width", [80, 120])
def test_recipes_fit_the_terminal(width: int, smca: Smca, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = smca("recipes")[1].splitlines()
    assert max(map(len, lines)) <= width
    (row,) = (line for line in lines if line.startswith("smca-r50-single-scale-108 "))
    assert {"SMCA-R50,", "42.7", "the", "paper", "V100", "53"} <= set(row.split())
    assert [line.strip() for line in lines if line.strip() in GROUPS] == list(GROUPS)
    assert len(lines) < (60 if width == 120 else 120)


def test_info_counts_parameters(smca: Smca, tmp_path: Path, model: Path) -> None:
    status, out, _ = smca("info", model, "--size", "96x128", "--json", "info.json")
    numbers = json.loads((tmp_path / "info.json").read_text())
    assert status == 0
    assert numbers["parameters_total"] == sum(part["parameters_total"] for part in numbers["parts"].values())
    assert numbers["parameters_trainable"] <= numbers["parameters_total"]
    assert (numbers["image_height"], numbers["image_width"]) == (96, 128)
    assert numbers["gmacs"] > 0
    assert numbers["memory_activations_mib"] > 0
    assert "backbone" in out


def test_info_takes_a_folders_own_size(smca: Smca, tmp_path: Path, model: Path) -> None:
    smca("info", model, "--json", "info.json")
    numbers = json.loads((tmp_path / "info.json").read_text())
    assert (numbers["image_height"], numbers["image_width"]) == (96, 128)


def test_scenes_are_written(smca: Smca, tmp_path: Path) -> None:
    status, out, _ = smca("data", "scenes", "out", "--images", "6", "--size", "96x128")
    assert status == 0
    assert out.endswith("wrote out\n")
    assert len(list((tmp_path / "out" / "images").iterdir())) == 6
    assert Image.open(next((tmp_path / "out" / "images").iterdir())).size == (128, 96)


def test_predictions_are_drawn_and_listed(smca: Smca, tmp_path: Path, model: Path) -> None:
    status, out, _ = smca("predict", model, photo(tmp_path), "--out", "out", "--threshold", "0")
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert status == 0
    assert out.splitlines()[-1] == "out/predictions.json"
    assert [(entry["width"], entry["height"], len(entry["detections"])) for entry in entries] == [(160, 120, 100)]
    assert len(list((tmp_path / "out").glob("photo*"))) == 1


def test_videos_are_drawn_and_listed(smca: Smca, tmp_path: Path, model: Path) -> None:
    video = write_video(tmp_path / "clip.mp4")
    words = ("--out", "out", "--threshold", "0", "--tile", "--frames", "2")
    status, out, error = smca("predict", model, video, photo(tmp_path), *words)
    entries = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert (status, error) == (0, "")
    assert out.splitlines()[-1] == "out/predictions.json"
    assert [(entry["image"], entry.get("frame")) for entry in entries] == [
        (str(video), 0),
        (str(video), 1),
        (str(tmp_path / "photo.png"), None),
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"clip.mp4", "photo.jpg", "predictions.json"}


def test_an_evaluation_prints_writes_and_reports(smca: Smca, tmp_path: Path, model: Path, scenes: Path) -> None:
    status, out, _ = smca("eval", model, scenes, "--workers", "0", "--json", "numbers.json", "--report", "report")
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    page = (tmp_path / "report" / "index.html").read_text()
    assert status == 0
    assert set(NUMBERS) <= set(numbers)
    assert {"confusion", "errors", "sizes", "classes", "precision_over_recall", "over_threshold"} <= set(numbers)
    assert all(name in out and name in page for name in NUMBERS)
    assert "report: report/index.html" in out
    assert page.count("<figure") == 2 + len(numbers["worst_images"]) + len(numbers["best_images"])


def test_a_checkpoint_becomes_a_model_and_what_is_new_is_listed(smca: Smca, tmp_path: Path) -> None:
    source = write(tmp_path / "detr.pth", detr_shapes())
    status, out, _ = smca("convert", source, "out")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("DETR: ")
    assert "80 classes" in lines[0]
    assert "  decoder.layers.0.centre.0.weight" in lines
    assert lines[-1] == "out"
    assert smca("predict", "out", photo(tmp_path), "--out", "predicted")[0] == 0


def test_an_explanation_shows_every_detection(smca: Smca, tmp_path: Path, model: Path) -> None:
    status, out, _ = smca("explain", model, photo(tmp_path), "--out", "out", "--threshold", "0", "--most", "2")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    rows = json.loads((tmp_path / "out" / "explain.json").read_text())["detections"]
    assert (status, out) == (0, "out/overview.png\n")
    assert names == {"overview.png", "detection-1.png", "detection-2.png", "explain.json", "explain.npz"}
    assert len(rows) == 2
    assert sum(rows[0]["scale_weights"].values()) == pytest.approx(1, abs=1e-5)


def test_an_explanation_of_nothing_says_so(smca: Smca, tmp_path: Path, model: Path) -> None:
    status, out, error = smca("explain", model, photo(tmp_path), "--out", "out", "--threshold", "1")
    highest = json.loads((tmp_path / "out" / "explain.json").read_text())["highest_score"]
    said, path = out.splitlines()
    assert (status, error, path) == (0, "", "out/overview.png")
    assert said.startswith(f"no detection: the highest score is {highest:.3f}")
    assert "--threshold" in said


def test_train_hands_over_every_option(smca: Smca, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TrainRequest] = []
    monkeypatch.setattr(launch, "train", lambda request: asked.append(request) or Path("runs/x"))
    options = (
        "--recipe smca-tiny --out run --epochs 3 --batch 4 --lr 0.1 --image-size 96 --init MODEL "
        "--backbone-weights none --freeze backbone --freeze encoder --precision bf16 --workers 1 "
        "--set num_queries=9 a=b --set c=d --seed 7 --device cpu --dry-run --strict --val-fraction 0.2"
    )
    assert smca("train", "data", *options.split())[:2] == (0, "runs/x\n")
    assert asked == [
        TrainRequest(
            data=Path("data"),
            recipe="smca-tiny",
            out=Path("run"),
            epochs=3,
            batch=4,
            lr=0.1,
            image_size=96,
            init="MODEL",
            backbone_weights="none",
            freeze=("backbone", "encoder"),
            precision="bf16",
            workers=1,
            overrides=("num_queries=9", "a=b", "c=d"),
            seed=7,
            device="cpu",
            dry_run=True,
            strict=True,
            val_fraction=0.2,
        )
    ]


def test_train_without_options_leaves_everything_to_the_recipe(smca: Smca, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TrainRequest] = []
    monkeypatch.setattr(launch, "train", lambda request: asked.append(request) or Path("runs/x"))
    smca("train", "data", "--recipe", "smca-tiny")
    assert asked == [TrainRequest(data=Path("data"), recipe="smca-tiny")]


def test_resume_names_the_run(smca: Smca, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "resume", lambda run: run)
    assert smca("resume", "runs/x")[:2] == (0, "runs/x\n")


def test_a_printed_configuration_is_yaml_with_the_options_applied(smca: Smca) -> None:
    status, out, _ = smca("train", "data", "--recipe", "smca-tiny", "--epochs", "3", "--print_config")
    recipe = yaml.safe_load(out)
    assert status == 0
    assert recipe["name"] == "smca-tiny"
    assert recipe["optimisation"]["epochs"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train nowhere --recipe smca-tiny", "nowhere"),
        ("train {empty} --recipe smca-tiny", "annotations/instances_train2017.json"),
        ("train {scenes} --recipe smca-tyni", "Did you mean 'smca-tiny'?"),
        ("train {scenes} --recipe smca-tiny --set num_querys=9", "Did you mean"),
        ("train {scenes} --recipe smca-tiny --out {scenes}", "in use"),
        ("train {scenes} --recipe smca-tiny --backbone-weights nowhere.safetensors", "nowhere.safetensors"),
        ("train {scenes} --recipe smca-tiny --init nowhere", "nowhere"),
        ("resume nowhere", "nowhere"),
        ("info smca-r5", "Did you mean 'smca-r50'?"),
        ("info {empty}", "neither a model folder"),
        ("info nowhere/best", "there is no nowhere/best"),
        ("info smca-tiny --size 0x0", "HEIGHTxWIDTH"),
        ("info smca-tiny --size wide", "HEIGHTxWIDTH"),
        ("eval nowhere {scenes}", "no model folder at nowhere"),
        ("eval {model} nowhere", "nowhere"),
        ("predict {model} nowhere.jpg", "nowhere.jpg"),
        ("predict {empty} {photo}", "is not a model folder"),
        ("predict {model} {text}", "text.jpg cannot be read"),
        ("predict {model} {empty}", "holds no image or video"),
        ("predict {model} http://127.0.0.1:9/a.jpg", "no connection to the server"),
        ("predict {model} file:///a.jpg", "allowed: URLs that begin with http:// or https://"),
        ("predict {model} webcam:97", "no webcam:97 here"),
        ("predict {model} {photo} --track", "only still images"),
        ("predict {model} --tile {photo}", "put --tile behind the sources"),
        ("predict {model} {photo} --tile 8", "tiles of 8 pixels; allowed: 32 or more"),
        ("predict {model} {photo} --frames 0", "'0' is not a whole number of at least 1"),
        ("predict {model} {photo} --out {text}", "cannot write text.jpg"),
        ("explain {model} nowhere.jpg", "nowhere.jpg"),
        ("explain {model} {text}", "text.jpg"),
        ("explain {model} {empty}", "empty cannot be read"),
        ("explain {empty} {photo}", "is not a model folder"),
        ("explain {model} {photo} --threshold 2", "'2' is not a number from 0 to 1"),
        ("explain {model} {photo} --threshold nan", "'nan' is not a number from 0 to 1"),
        ("explain {model} {photo} --most 0", "'0' is not a whole number of at least 1"),
        ("explain {model} {photo} --out {text}", "cannot write text.jpg"),
        ("export {model} --format onnx --precision bf16", "allowed with --format onnx: fp32, int8"),
        ("export {model} --format torch --data nowhere", "nowhere"),
        ("export {model} --format torch --images nowhere", "no file or folder nowhere"),
        ("export {model} --format torch --out m.onnx", "ends in .pt2"),
        ("export {empty} --format torch", "is not a model folder"),
        ("predict nowhere.onnx {photo}", "there is no exported file nowhere.onnx"),
        ("data scenes {scenes} --images 8", "in use"),
        ("convert nowhere.pth out", "nowhere.pth"),
        ("convert {text} out", "is not a checkpoint"),
        ("convert {model}/model.safetensors out", "another architecture"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    words: str, message: str, smca: Smca, tmp_path: Path, model: Path, scenes: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("not a picture")
    places = {
        "empty": "empty",
        "text": "text.jpg",
        "photo": photo(tmp_path),
        "scenes": scenes,
        "model": model,
    }
    before = sorted(tmp_path.rglob("*"))
    status, out, error = smca(*words.format(**places).split())
    assert (status, out) == (2, "")
    assert error.startswith("smca: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    "words", ["train {scenes} --recipe smca-tiny", "eval {model} {scenes}", "predict {model} {scenes}"]
)
def test_a_gpu_that_is_not_there_is_said(words: str, smca: Smca, model: Path, scenes: Path) -> None:
    status, out, error = smca(*words.format(model=model, scenes=scenes).split(), "--device", "cuda")
    assert (status, out) == (2, "")
    assert "cuda" in error.lower()
    assert error.count("\n") == 1


def test_bench_says_each_number_and_writes_them(smca: Smca, tmp_path: Path) -> None:
    status, out, _ = smca("bench", "--group", "loss", "--rounds", "2", "--json", "speed.json", "--out", "speed")
    (row,) = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert status == 0
    assert row["what"] == "all layers at once"
    assert f"{row['ratio']:.2f}" in out
    assert {path.name for path in (tmp_path / "speed").iterdir()} == {"speed.json", "speed.md", "speed.png"}


def test_bench_refuses_an_unknown_group(smca: Smca) -> None:
    status, _, err = smca("bench", "--group", "los")
    assert status == 2
    assert "no benchmark group 'los'" in err
    assert "loss" in err


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_predict_in_either_precision(smca: Smca, tmp_path: Path, model: Path, precision: str) -> None:
    if precision == "bf16" and not cpu_has_bfloat16():
        pytest.skip("this processor has no bfloat16")
    status, _, _ = smca("predict", model, photo(tmp_path), "--threshold", "0", "--precision", precision)
    assert status == 0
    (entry,) = json.loads((tmp_path / "runs" / "predict" / "predictions.json").read_text())
    assert entry["detections"]


def test_compare_writes_a_table_and_refuses_unknown_systems(smca: Smca, tmp_path: Path) -> None:
    smca("data", "scenes", "scenes", "--images", "10", "--val-images", "2", "--size", "64x64")
    small = ("backbone_widths=4,8,8,8,8", "d_model=16", "num_heads=2", "ffn_dim=16", "num_queries=14", "crop_epochs=0")
    common = ("--epochs", "1", "--image-size", "64", "--workers", "0", "--device", "cpu", "--out", "out")
    status, out, err = smca("compare", "scenes", "--models", "smca-single-scale,detr", *common, "--set", *small)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "out/table.md"
    rows = json.loads((tmp_path / "out" / "table.json").read_text())["rows"]
    assert [(row["model"], row["failed"]) for row in rows] == [("smca-single-scale", None), ("detr", None)]
    status, _, err = smca("compare", "scenes", "--models", "smca,yolo")
    assert status == 2
    assert "no system 'yolo'" in err
    assert "deformable-detr" in err
    assert smca("compare", "gone", "--models", "detr", "--out", "other")[0] == 2
    assert not (tmp_path / "other").exists()


def test_pretrain_writes_a_model_to_start_from(smca: Smca, tmp_path: Path) -> None:
    photo(tmp_path)
    small = ("backbone_widths=4,8,8,8,8", "d_model=16", "num_heads=2", "ffn_dim=16", "num_queries=14")
    words = ("pretrain", "photo.png", "--recipe", "detr-tiny", "--epochs", "1", "--image-size", "64", "--device", "cpu")
    status, out, err = smca(*words, "--out", "up", "--set", *small)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "up"
    assert (tmp_path / "up" / "model.safetensors").is_file()
    assert smca(*words, "--out", "up", "--set", *small)[0] == 2
    assert smca("pretrain", "none/*.png", "--recipe", "detr-tiny", "--out", "x")[0] == 2


def test_info_and_recipes_know_the_peers(smca: Smca, tmp_path: Path) -> None:
    status, out, _ = smca("info", "deformable-detr-tiny", "--size", "64x64", "--json", "info.json")
    assert status == 0
    assert "the rest" in out
    numbers = json.loads((tmp_path / "info.json").read_text())
    assert sum(part["parameters_total"] for part in numbers["parts"].values()) == numbers["parameters_total"]
    assert sum(part["gmacs"] for part in numbers["parts"].values()) == pytest.approx(numbers["gmacs"], abs=0.002)
    status, _, err = smca("info", "deformable-detr-tny")
    assert status == 2
    assert "SYSTEM-SIZE" in err
