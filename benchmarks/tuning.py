"""Learning rate, warm-up and norm placement: every system at each of TRIALS, on a part of a train split."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.comparing import RECORDS, RESULTS, compare, portable
from smca.files import read_json, write_atomically

SLOW = ("lr=3e-4", "backbone_lr=3e-4")
TRIALS: dict[str, tuple[str, ...]] = {
    "as-it-is": (),
    "rate-3e-4": SLOW,
    "norms-after": ("pre_norm=false",),
    "queries-not-slowed": ("reference_factor=1",),
    "longer-warm-up": ("warmup=.2",),
    "all-of-these": (*SLOW, "pre_norm=false", "reference_factor=1", "warmup=.2"),
}
KIN = {"up-detr": "detr"}
LEARNED = 0.01  # an AP below it is noise: then the loss decides


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The trials of some systems on one data set, kept in docs/results/evidence/NAME."""

    name: str
    part: Path
    what: str  # of the part, for the page
    systems: tuple[str, ...]
    epochs: int
    settings: tuple[str, ...] = ()  # of all trials
    options: tuple[str, ...] = ()  # of `smca compare`

    def run(self, runs: Path) -> None:
        """Make what is missing."""
        for trial, settings in TRIALS.items():
            kept, out = RECORDS / self.name / f"{trial}.json", runs / self.name / trial
            if not kept.exists():
                own = (*self.settings, *settings)
                compare(out, self.part, self.systems, self.epochs, own, *self.options)
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(kept, portable(out / "table.json"))

    def best_of(self, systems: tuple[str, ...]) -> tuple[str, ...]:
        """The settings of all trials, and for each system those of its best."""
        return (*self.settings, *(f"{one}:{setting}" for one in systems for setting in TRIALS[self.best(one)]))

    def best(self, system: str) -> str:
        """Its trial of the highest AP or, where nothing was learned, of the lowest loss; its kin's if not tuned."""
        trials = self._trials(KIN.get(system, system))
        if max(row["AP"] for row in trials.values()) < LEARNED:
            return min(trials, key=lambda trial: trials[trial]["last_loss"])
        return max(trials, key=lambda trial: trials[trial]["AP"])

    def table(self) -> list[str]:
        """The section of the page."""
        machines = sorted({f"{table['machine']}; {table['date']}" for table in self._tables().values()})
        shared = "".join(f" `{one}`" for one in self.settings)
        head = [
            f"## {self.name}",
            "",
            f"{self.epochs} epochs of {self.what}{f'; all with{shared}' if shared else ''}. Tables written on:",
            f"{' / '.join(machines)}.",
            "",
            f"| trial | settings | {' | '.join(self.systems)} |",
            "|---" * (2 + len(self.systems)) + "|",
        ]
        return [*head, *(self._row(trial) for trial in TRIALS), ""]

    def _row(self, trial: str) -> str:
        cells = [self._cell(system, trial) for system in self.systems]
        return f"| {trial} | {' '.join(f'`{one}`' for one in TRIALS[trial])} | {' | '.join(cells)} |"

    def _cell(self, system: str, trial: str) -> str:
        row = self._trials(system)[trial]
        text = f"{100 * row['AP']:.1f} ({row['last_loss']:.2f})"
        return f"**{text}**" if trial == self.best(system) else text

    def _trials(self, system: str) -> dict[str, dict[str, Any]]:
        """The row of each trial that the system was given."""
        return {name: row for name, table in self._tables().items() for row in table["rows"] if row["model"] == system}

    def _tables(self) -> dict[str, dict[str, Any]]:
        return {trial: read_json(RECORDS / self.name / f"{trial}.json") for trial in TRIALS}


def write_page(tunings: tuple[Tuning, ...]) -> None:
    """docs/results/tuning.md."""
    lines = [
        "# Tuning of the systems compared",
        "",
        "`python -m benchmarks.evidence tuning`: one seed, trained and judged on parts of the train split. AP in",
        "percent, loss of the last epoch; chosen: the best AP or, where nothing was learned, the lowest loss. The",
        "recipes from which all trials start, `smca-tiny` for scenes and `smca-small` for blood cells, were chosen",
        "with SMCA in many more.",
        "",
    ]
    for tuning in tunings:
        lines += tuning.table()
    write_atomically(RESULTS / "tuning.md", "\n".join(lines))
