"""What is on the page of a run: curves, pictures, numbers, how to use the model, epochs and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from smca.evaluation.report import MEANINGS, NOTHING, bar, learning_curves, numbers_section, percent
from smca.progress import duration
from smca.training.run_folder import RunFolder
from smca.visualization.page import Card, Cell, Picture, Section, Table, page


def run_page(folder: RunFolder, epochs: int, pictures: Sequence[Picture]) -> str:
    """The page of a run that has at least one epoch; pictures of what the best model finds, if there are any."""
    rows, request = folder.metrics(), folder.read_request()
    best = max(rows, key=lambda row: (row["AP"] or 0.0, row["epoch"]))
    settings = yaml.safe_load((folder.path / "recipe.yaml").read_text(encoding="utf-8"))
    classes = [(name, bar(value)) for name, value in sorted(best["per_class"].items(), key=_lowest_first)]
    asked = {key: value for key, value in request.to_json().items() if value not in (None, (), False)}
    shown = Section("What the best model finds", "Images of val, from the model's own threshold on.", pictures)
    recipe = {key: value for key, value in settings.items() if key != "origin"}
    sections = [
        Section("Convergence", pictures=learning_curves(rows)),
        *([shown] if pictures else []),
        numbers_section(best),
        Section("AP by class", "Lowest first.", table=Table(("class", "AP"), classes)),
        Section("How to use it", code=_commands(folder.path, request.data, len(rows) < epochs)),
        Section("Epochs", table=_epochs(rows)),
        Section("Settings", table=_settings("asked for", asked), second_table=_settings("recipe", recipe)),
    ]
    text = (
        f"{settings['name']} on {request.data.name}, {len(rows)} of {epochs} epochs. "
        f"Numbers are those of epoch {best['epoch']}, the best by AP on val."
    )
    return page(f"Training of {folder.path.resolve().name}", text, _cards(rows, best), sections)


def _lowest_first(item: tuple[str, float | None]) -> tuple[bool, float]:
    return item[1] is None, item[1] or 0.0


def _cards(rows: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> list[Card]:
    seconds = sum(row["seconds"] for row in rows)
    threshold = best["best_threshold"]
    return [
        *(Card(percent(best[name]), name, MEANINGS[name]) for name in ("AP", "AP50", "AP75")),
        Card(str(best["epoch"]), "best epoch", f"of {len(rows)}"),
        Card(duration(seconds), "time", f"{seconds / len(rows):.0f} s an epoch, evaluation included"),
        Card(
            NOTHING if threshold is None else f"{threshold:.3f}", "threshold", "best F1 on val, stored with the model"
        ),
    ]


def _commands(run: Path, data: Path, unfinished: bool) -> str:
    best, report, again = (quote(str(path)) for path in (run / "best", run / "evaluation", run))
    lines = [
        "# on pictures, folders or globs: drawn pictures and predictions.json",
        f"smca predict {best} PICTURES --out found",
        "# curves, confusions, kinds of errors, worst and best images",
        f"smca eval {best} {quote(str(data))} --report {report}",
        "# where the queries looked",
        f"smca explain {best} PICTURE",
    ]
    rest = ["# the epochs that are left", f"smca resume {again}"] if unfinished else []
    return "\n".join([*lines, *rest])


def _epochs(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The latest first."""
    names = ("AP", "AP50", "AP75")
    cells: list[Sequence[Cell]] = [
        (str(row["epoch"]), f"{row['loss']:.3f}", *(percent(row[name]) for name in names), duration(row["seconds"]))
        for row in reversed(rows)
    ]
    return Table(("epoch", "loss", *names, "time"), cells)


def _settings(title: str, values: Mapping[str, Any]) -> Table:
    return Table((title, "value"), list(_flat(values)))


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{above}{key}", ", ".join(map(str, value)) or NOTHING
        else:
            yield f"{above}{key}", NOTHING if value is None else str(value)
