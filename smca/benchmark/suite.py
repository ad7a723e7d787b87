"""All measurements: by group, to one JSON, one table and one plot.

{"machine": ..., "date": ..., "versions": {...}, "rows": [Ratio ...], "amounts": [Amount ...]}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from smca.benchmark import attention, loading, losses
from smca.benchmark.chart import draw
from smca.benchmark.models import SCALES, Comparison
from smca.benchmark.timing import Amount, Ratio
from smca.errors import ConfigurationError, nearest
from smca.files import write_atomically, write_json
from smca.machine import machine

Say = Callable[[str], None]
GROUPS = ("attention", "loss", "loader", "models", "models-tiny")


class Suite:
    """What was measured so far; `rounds` is how often each pair is timed at least, models half as often."""

    def __init__(self, rounds: int, say: Say) -> None:
        self.rounds = rounds
        self.say = say
        self.ratios: list[Ratio] = []
        self.amounts: list[Amount] = []

    def run(self, groups: Sequence[str]) -> dict[str, Any]:
        """Measure the groups in order and return all as JSON; ConfigurationError for one that is not there."""
        for group in groups:
            if group not in GROUPS:
                raise ConfigurationError(f"no benchmark group '{group}'.{nearest(group, GROUPS)}")
        for group in groups:
            self.say(f"measuring {group}")
            getattr(self, f"_{group.partition('-')[0]}")(group)
        return {
            **machine(),
            "rows": [ratio.to_dict() for ratio in self.ratios],
            "amounts": [amount.to_dict() for amount in self.amounts],
        }

    def _attention(self, _: str) -> None:
        self._add(attention.ratios(3 * self.rounds))
        self.amounts += attention.growth()

    def _loss(self, _: str) -> None:
        self._add(losses.ratios(self.rounds))

    def _loader(self, _: str) -> None:
        self._add(loading.speed(self.rounds))
        setting = f"batch {loading.BATCH}, the paper's augmentation"
        for name, share in loading.padding_shares().items():
            self.amounts.append(Amount("input pipeline", f"padding, {name}", setting, 100 * share, "% of pixels"))

    def _models(self, group: str) -> None:
        scale = SCALES["tiny" if group.endswith("tiny") else "r50"]
        comparison = Comparison(scale, max(1, self.rounds // 2))
        for measure in (comparison.modulation, comparison.peers, comparison.backends):
            self._add(measure())

    def _add(self, ratios: Sequence[Ratio]) -> None:
        self.ratios += ratios
        for one in ratios:
            self.say(f"{one.group}: {one.what} : {one.against} = {one.ratio:.2f}{verdict(one)} ({one.setting})")


def verdict(row: Ratio | Amount) -> str:
    """What was aimed at, and whether it was reached."""
    return "" if row.limit is None else f" (at most {row.limit:g}: {'yes' if row.met else 'NO'})"


def write_report(folder: Path, results: dict[str, Any]) -> None:
    """speed.json, speed.md and speed.png."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "speed.json", results)
    write_atomically(folder / "speed.md", markdown(results))
    write_atomically(folder / "speed.png", draw(results))


def markdown(results: dict[str, Any]) -> str:
    """The results as a page."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        "# Speed",
        "",
        f"Written by `make bench`. {results['machine']}; {versions}; {results['date']}.",
        "",
        "Ratios are medians over rounds in which both sides ran in turn in one process, with quartiles; below 1, what",
        "stands first is faster. What a row compares is said in the modules of `smca/benchmark/`.",
        "",
        "![co-attention](speed.png)",
        "",
        "| what | against | ratio | quartiles | ms | at most | setting |",
        "|---|---|---|---|---|---|---|",
    ]
    group = ""
    groups = list(dict.fromkeys(row["group"] for row in results["rows"]))
    for row in sorted(results["rows"], key=lambda row: groups.index(row["group"])):
        if row["group"] != group:
            group = row["group"]
            lines.append(f"| **{group}** | | | | | | |")
        lines.append(
            f"| {row['what']} | {row['against']} | **{row['ratio']:.2f}** | {row['low']:.2f} to {row['high']:.2f} | "
            f"{row['milliseconds']:.1f} : {row['against_milliseconds']:.1f} | {_limit(row)} | {row['setting']} |"
        )
    lines += ["", "| amount | value | at most | setting |", "|---|---|---|---|"]
    lines += [
        f"| {row['group']}: {row['what']} | {row['value']:.1f} {row['unit']} | {_limit(row)} | {row['setting']} |"
        for row in results["amounts"]
    ]
    return "\n".join(lines) + "\n"


def _limit(row: dict[str, Any]) -> str:
    if row["limit"] is None:
        return ""
    return f"{row['limit']:g}" if row["met"] else f"{row['limit']:g}, **not met**"
