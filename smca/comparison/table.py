"""A comparison on disk -> table.json, table.md and convergence.png.

A row: means over seeds of each seed's best epoch by AP, the sample deviation of AP, and the epochs and seconds after
which AP first reached .5, .75 and .9 of the best system's; null where a seed never did. Seconds are those of training,
evaluation, the shared warm-up of the backbone and UP-DETR's pre-training.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from smca.comparison.fairness import fairness
from smca.comparison.folder import ComparisonFolder
from smca.files import read_json, write_atomically, write_json
from smca.machine import machine
from smca.training.recipe import Recipe
from smca.visualization.convergence import Curve, convergence
from smca.visualization.figures import as_png

NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
SHARES = (0.5, 0.75, 0.9)
MEASURES = ("parameters", "gmacs", "seconds_per_image", "peak_memory_mib", "peak_gpu_memory_mib")

COLUMNS = (
    *("system", "AP", "AP50", "AP75", "S", "M", "L", "best epoch", "epochs to 50/75/90 %", "seconds to 50/75/90 %"),
    *("parameters", "GMACs", "ms an image", "memory", "loss, first and last", "seeds"),
)

Epochs = list[dict[str, Any]]


def write_table(place: ComparisonFolder, recipes: Mapping[str, Recipe], failed: Mapping[str, str]) -> None:
    """Write what there is so far; `failed`: the reasons of systems that failed."""
    runs = {name: _finished(place, name) for name in recipes}
    rows: list[dict[str, Any]] = [{**_row(place, name, runs[name]), "failed": failed.get(name)} for name in recipes]
    best = max((row["AP"] or 0.0 for row in rows), default=0.0)
    for row in rows:
        row.update(_times(runs[row["model"]], best))
    here = machine()
    results = {
        **here,
        "made_on": _made_on(place, recipes) or [_where(here)],
        "request": place.request.to_json(),
        "best_AP": best,
        "rows": rows,
    }
    write_json(place.path / "table.json", results)
    curves = {name: [_curve(epochs) for epochs in found] for name, found in runs.items() if found}
    if curves:
        write_atomically(place.path / "convergence.png", as_png(convergence(curves)))
    write_atomically(place.path / "table.md", markdown(results, fairness(recipes), bool(curves)))


def _finished(place: ComparisonFolder, name: str) -> list[Epochs]:
    """The epochs of each seed that is done, every one with the `elapsed` seconds until its end."""
    found = []
    for seed in range(place.request.seeds):
        folder = place.folder(name, seed)
        if (folder.path / "measures.json").is_file():
            epochs = folder.metrics()
            start = place.head_start(name, seed)
            elapsed = accumulate((epoch["seconds"] for epoch in epochs), initial=start)
            next(elapsed)
            found.append([{**epoch, "elapsed": after} for epoch, after in zip(epochs, elapsed, strict=True)])
    return found


def _made_on(place: ComparisonFolder, names: Iterable[str]) -> list[str]:
    """Machine and day of all finished runs: a comparison may go on elsewhere."""
    runs = [_measures(place, name, seed) for name in names for seed in range(place.request.seeds)]
    return sorted({_where(run) for run in runs if run})


def _where(made: Mapping[str, Any]) -> str:
    return f"{made.get('machine', 'unknown machine')}; {made.get('date', 'unknown day')}"


def _row(place: ComparisonFolder, name: str, runs: Sequence[Epochs]) -> dict[str, Any]:
    seeds = [_measures(place, name, seed) for seed in range(place.request.seeds)]
    measured = [one for one in seeds if one]
    return {
        "model": name,
        **_row_of_curves(runs),
        **{key: _mean([one[key] for one in measured]) for key in MEASURES},
    }


def _row_of_curves(runs: Sequence[Epochs]) -> dict[str, Any]:
    """What the epochs of all seeds say."""
    best = [max(epochs, key=lambda epoch: epoch["AP"] or 0.0) for epochs in runs]
    return {
        **{key: _mean([epoch[key] for epoch in best]) for key in NUMBERS},
        "AP_deviation": _deviation([epoch["AP"] or 0.0 for epoch in best]),
        "best_epoch": _mean([epoch["epoch"] for epoch in best]),
        "epochs": max((len(epochs) for epochs in runs), default=0),
        "seconds": _mean([epochs[-1]["elapsed"] for epochs in runs]),
        "seeds": len(runs),
        "first_loss": _mean([epochs[0]["loss"] for epochs in runs]),
        "last_loss": _mean([epochs[-1]["loss"] for epochs in runs]),
    }


def _measures(place: ComparisonFolder, name: str, seed: int) -> dict[str, Any]:
    path = place.folder(name, seed).path / "measures.json"
    return read_json(path) if path.is_file() else {}


def _times(runs: Sequence[Epochs], best: float) -> dict[str, Any]:
    """Epochs and seconds to each share of the best AP."""
    times: dict[str, Any] = {}
    for share in SHARES:
        first = [next((e for e in epochs if (e["AP"] or 0.0) >= share * best > 0), None) for epochs in runs]
        reached = [epoch for epoch in first if epoch is not None]
        whole = reached if len(reached) == len(runs) else []
        times[f"epochs_to_{100 * share:.0f}"] = _mean([epoch["epoch"] for epoch in whole])
        times[f"seconds_to_{100 * share:.0f}"] = _mean([epoch["elapsed"] for epoch in whole])
    return times


def _curve(epochs: Epochs) -> Curve:
    return Curve(
        [epoch["epoch"] for epoch in epochs],
        [epoch["elapsed"] for epoch in epochs],
        [epoch["AP"] or 0.0 for epoch in epochs],
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def markdown(results: dict[str, Any], fair: str, plot: bool) -> str:
    """The page."""
    request = results["request"]
    overrides = f" --set {' '.join(request['overrides'])}" if request["overrides"] else ""
    epochs = f" --epochs {request['epochs']}" if request["epochs"] else ""
    names = ",".join(request["models"])
    command = f"smca compare {request['data']} --models {names} --size {request['size']}"
    command += f"{epochs} --seeds {request['seeds']}{overrides}"
    lines = [
        "# Comparison",
        "",
        f"`{command}`",
        "",
        f"{' and '.join(results['made_on'])}. AP on val, in percent; best epoch by AP, means over seeds with the",
        f"deviation between them. The best system's AP is {100 * results['best_AP']:.1f}; epochs and seconds",
        '(training, warm-up and evaluation included) to half, three quarters and nine tenths of it; "-": not reached.',
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *(_line(row) for row in results["rows"]),
        "",
    ]
    failed = [f"- {row['model']} failed: {row['failed']}" for row in results["rows"] if row["failed"]]
    picture = ["![AP over epochs and over time](convergence.png)", ""] if plot else []
    return "\n".join([*lines, *failed, *([""] if failed else []), *picture, fair])


def _line(row: dict[str, Any]) -> str:
    deviation = "" if row["AP_deviation"] is None else f" ± {100 * row['AP_deviation']:.1f}"
    cells = [row["model"], f"**{_percent(row['AP'])}**{deviation}", *(_percent(row[key]) for key in NUMBERS[1:])]
    for kind, form in (("epochs", ".1f"), ("seconds", ".0f")):
        cells.append(" / ".join(_number(row[f"{kind}_to_{100 * share:.0f}"], form) for share in SHARES))
    cells.insert(7, f"{_number(row['best_epoch'], '.0f')} of {row['epochs']}")
    millions = None if row["parameters"] is None else row["parameters"] / 1e6
    wait = None if row["seconds_per_image"] is None else 1000 * row["seconds_per_image"]
    losses = f"{_number(row['first_loss'], '.2f')}, {_number(row['last_loss'], '.2f')}"
    memory = row["peak_gpu_memory_mib"] or row["peak_memory_mib"]
    sizes = [_number(millions, ".2f") + " M", _number(row["gmacs"], ".2f"), _number(wait, ".0f")]
    return "| " + " | ".join([*cells, *sizes, _number(memory, ".0f") + " MiB", losses, str(row["seeds"])]) + " |"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
