"""`smca quickstart`: the whole job on generated data, without a download.

Scenes -> train `smca-tiny` -> evaluate on held-back scenes -> predict -> pictures of detections and of where queries
looked -> OUT/summary.json and OUT/index.html. Digits have a left and a right, so training does not flip them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from PIL import Image

from smca.data.scenes import make_scenes
from smca.evaluation.command import evaluate_model
from smca.files import claim_folder, read_json, write_atomically, write_json
from smca.inference.command import predict_files
from smca.inference.explain import explain_file
from smca.inference.loading import load
from smca.progress import Progress, duration
from smca.training.launch import train
from smca.training.request import TrainRequest
from smca.visualization.curves import ap_curve, loss_curve, read_metrics
from smca.visualization.page import Card, Picture, Section, Table, page

TRAIN_IMAGES = 2000
VAL_IMAGES = 200
SHOWN = 8
EXPLAINED = 3
NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")


def quickstart(out: Path, seed: int = 0) -> Path:
    """Do it all under `out`; returns the path of the page."""
    claim_folder(out, "choose another --out or delete it")
    started = time.monotonic()
    with Progress("drawing scenes") as progress:
        make_scenes(out / "data", TRAIN_IMAGES + VAL_IMAGES, seed=seed, val_images=VAL_IMAGES, progress=progress)
    clock = time.monotonic()
    run = train(TrainRequest(data=out / "data", recipe="smca-tiny", out=out / "run", seed=seed, overrides=("flip=0",)))
    training = time.monotonic() - clock
    numbers = evaluate_model(load(run / "best"), out / "data")
    images = _shown(out / "data")
    predict_files(run / "best", images, out / "predictions")
    for image in images[:EXPLAINED]:
        explain_file(run / "best", image, out / "explain" / image.stem, most=4)
    summary = {
        **numbers,
        "seconds": round(time.monotonic() - started, 1),
        "training_seconds": round(training, 1),
        "seed": seed,
        "model": str(run / "best"),
    }
    write_json(out / "summary.json", summary)
    write_atomically(out / "index.html", _page(out, images, summary))
    scores = f"AP {numbers['AP']:.3f}  AP50 {numbers['AP50']:.3f}"
    print(f"{scores}  on held-back scenes, after {duration(training)} of training")
    print(f"predict your own: smca predict {run / 'best'} PICTURE")
    return out / "index.html"


def _shown(data: Path) -> list[Path]:
    """Held-back scenes with the most objects among the first hundred come first."""
    val = read_json(data / "val.json")
    names = {image["id"]: image["file_name"] for image in val["images"][: SHOWN * 4]}
    counts = dict.fromkeys(names, 0)
    for annotation in val["annotations"]:
        if annotation["image_id"] in counts:
            counts[annotation["image_id"]] += 1
    chosen = sorted(counts, key=lambda identity: -counts[identity])[: 2 * SHOWN : 2]
    return [data / "images" / Path(names[identity]).name for identity in chosen]


def _page(out: Path, images: list[Path], summary: dict[str, Any]) -> str:
    epochs = read_metrics(out / "run" / "metrics.jsonl")
    cards = [
        Card(f"{100 * summary['AP']:.1f}", "AP", "mean over IoU .50 to .95"),
        Card(f"{100 * summary['AP50']:.1f}", "AP50", "IoU .50"),
        Card(duration(summary["training_seconds"]), "training", f"{len(epochs)} epochs, from random weights"),
        Card(duration(summary["seconds"]), "all of it", "scenes, training, evaluation, pictures"),
    ]
    text = f"SMCA-DETR in its smallest form, trained on {TRAIN_IMAGES} generated scenes. Model: {summary['model']}"
    return page("SMCA quickstart", text, cards, _sections(out, images, summary, epochs))


def _sections(out: Path, images: list[Path], summary: dict[str, Any], epochs: list[dict[str, Any]]) -> list[Section]:
    found = [Picture(Image.open(out / "predictions" / f"{image.stem}.jpg"), image.name) for image in images]
    looked = [
        Picture(Image.open(out / "explain" / image.stem / "overview.png"), image.name, "full")
        for image in images[:EXPLAINED]
    ]
    rows = [(name, _percent(summary[name])) for name in NUMBERS]
    classes = [(name, _percent(value)) for name, value in summary["per_class"].items()]
    return [
        Section(
            "Convergence",
            pictures=[
                Picture(ap_curve(epochs), "AP on held-back scenes", "half", chart=True),
                Picture(loss_curve(epochs), "loss", "half", chart=True),
            ],
        ),
        Section("Detections", "Held-back scenes, drawn with digits that training never saw.", pictures=found),
        Section(
            "Where the queries looked",
            "One row a detection: its box; close up, where each head looks and how widely; then for each level the "
            "weight map G that the query predicted, the co-attention it led to, and the same attention without the "
            "Gaussian; and how much the query listens to each level.",
            pictures=looked,
        ),
        Section("COCO numbers", table=Table(("metric", "percent"), rows)),
        Section("AP by class", table=Table(("class", "percent"), classes)),
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
