"""What the table says of curves that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smca.comparison.folder import ComparisonFolder, ComparisonRequest
from smca.comparison.table import _made_on, _row_of_curves, _times, write_table
from smca.files import read_json, write_json
from smca.machine import machine
from smca.training.recipes.contestants import contestant


def epochs(*aps: float) -> list[dict[str, Any]]:
    """An epoch every ten seconds."""
    return [
        {"epoch": number, "elapsed": 10.0 * number, "loss": 5.0 - number, **dict.fromkeys(("AP50", "AP75"), ap)}
        | {"AP": ap, "APs": None, "APm": ap, "APl": ap}
        for number, ap in enumerate(aps, 1)
    ]


def test_means_are_over_seeds_best_epochs() -> None:
    row = _row_of_curves([epochs(0.1, 0.4, 0.3), epochs(0.1, 0.2)])
    assert row["AP"] == pytest.approx(0.3)
    assert row["AP_deviation"] == pytest.approx(0.1414, abs=1e-3)
    assert row["best_epoch"] == 2
    assert row["epochs"] == 3
    assert row["seconds"] == 25
    assert row["APs"] is None
    assert (row["first_loss"], row["last_loss"]) == (4, 2.5)


def test_times_are_of_the_first_epoch_that_reaches_a_share() -> None:
    times = _times([epochs(0.1, 0.2, 0.39, 0.4)], best=0.4)
    assert (times["epochs_to_50"], times["epochs_to_75"], times["epochs_to_90"]) == (2, 3, 3)
    assert times["seconds_to_50"] == 20


def test_what_one_seed_never_reached_has_no_time() -> None:
    times = _times([epochs(0.4), epochs(0.1)], best=0.4)
    assert times["epochs_to_90"] is None
    assert _times([], best=0.4)["epochs_to_50"] is None
    assert _times([epochs(0.0)], best=0.0)["epochs_to_50"] is None


def test_a_comparison_that_went_on_elsewhere_names_both_machines(tmp_path: Path) -> None:
    place = ComparisonFolder(ComparisonRequest(tmp_path, seeds=3), tmp_path)
    for seed, owner in enumerate(("a laptop", "a server", "a laptop")):
        place.folder("smca", seed).path.mkdir(parents=True)
        write_json(place.folder("smca", seed).path / "measures.json", {"machine": owner, "date": "2026-11-30"})
    assert _made_on(place, ("smca", "detr")) == ["a laptop; 2026-11-30", "a server; 2026-11-30"]


def test_a_comparison_in_which_nothing_is_done_names_this_machine(tmp_path: Path) -> None:
    place = ComparisonFolder(ComparisonRequest(tmp_path, models=("detr",)), tmp_path)
    write_table(place, {"detr": contestant("detr", "tiny")}, {"detr": "no memory"})
    here = machine()
    assert read_json(tmp_path / "table.json")["made_on"] == [f"{here['machine']}; {here['date']}"]
    assert f"\n{here['machine']}; {here['date']}. AP on val" in (tmp_path / "table.md").read_text()
