"""Does the order of the paper's ablations hold in miniature? docs/results/evidence -> docs/results/orderings.md.

    python benchmarks/orderings.py

A line for each two rows that the paper compares, the better one first. Differences are taken seed by seed: runs of one
seed share scenes, their order and the backbone's start. How much a difference varies from seed to seed is pooled over
all lines, for two or three seeds of one line say too little of it.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import cast

from smca.files import read_json, write_atomically
from smca.training.recipes import find_recipe
from smca.training.run_folder import RunFolder

RESULTS = Path(__file__).parents[1] / "docs" / "results"
ROWS = {  # ours: the recipe with the paper's number
    "detr": "detr-r50-50",
    "smca-head-shared": "smca-r50-head-shared",
    "fixed-spread": "smca-r50-fixed-spread",
    "single-spread": "smca-r50-single-spread",
    "smca-single-scale": "smca-r50-single-scale",
    "single-scale-c5": "smca-r50-single-scale",
    "smca": "smca-r50",
    "no-selection": "smca-r50-no-selection",
    "intra-intra": "smca-r50-5-intra",
    "multi-multi": "smca-r50-3-multi",
    "shared-ffn": "smca-r50-shared-ffn",
    "shared-attention": "smca-r50-shared-attention",
    "nothing-shared": "smca-r50-nothing-shared",
}
ORDERS = (
    ("smca-single-scale", "detr", "modulated, or not"),
    ("smca-single-scale", "smca-head-shared", "a centre for each head, or one for all"),
    ("smca-single-scale", "fixed-spread", "an independent spread, or a fixed one"),
    ("smca-single-scale", "single-spread", "an independent spread, or one for height and width"),
    ("single-spread", "fixed-spread", "one learned spread, or a fixed one"),
    ("smca", "single-scale-c5", "three scales, or the middle one of them"),
    ("smca", "no-selection", "queries choose among scales, or do not"),
    ("smca", "intra-intra", "intra and multi blocks, or intra alone"),
    ("smca", "multi-multi", "intra and multi blocks, or multi alone"),
    ("smca", "shared-ffn", "attention and FFN shared by scales, or FFN alone"),
    ("smca", "shared-attention", "attention and FFN shared by scales, or attention alone"),
    ("smca", "nothing-shared", "attention and FFN shared by scales, or neither"),
)
CLEAR = 2.0  # standard errors


def best_by_seed(row: str) -> dict[int, float]:
    """Best AP of each run of a row, in percent."""
    name = "scenes-tiny" if row == "detr" else "ablations"
    runs = sorted(path for path in (RESULTS / "evidence" / name / "runs").glob(f"{row}-?"))
    return {int(run.name[-1]): 100 * max(epoch["AP"] for epoch in RunFolder(run).metrics()) for run in runs}


def differences(better: str, worse: str) -> list[float]:
    """Of best AP, for each seed that both rows have."""
    first, second = best_by_seed(better), best_by_seed(worse)
    return [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]


def pooled_deviation(samples: list[list[float]]) -> float:
    """The deviation within samples of different means."""
    squares = sum((one - statistics.mean(sample)) ** 2 for sample in samples for one in sample)
    return math.sqrt(squares / sum(len(sample) - 1 for sample in samples))


def verdict(mean: float, error: float) -> str:
    """What a mean difference says about the paper's order."""
    held = "holds" if mean > 0 else "is the reverse"
    return held if abs(mean) > CLEAR * error else "cannot be told"


def line(better: str, worse: str, what: str, deviation: float) -> str:
    """One row of the table."""
    papers = [find_recipe(ROWS[row]).origin for row in (better, worse)]
    found = differences(better, worse)
    mean, error = statistics.mean(found), deviation / math.sqrt(len(found))
    recalled = "" if papers[0].measured_by == papers[1].measured_by else " (recalled)"
    paper = cast(float, papers[0].expected_ap) - cast(float, papers[1].expected_ap)
    return (
        f"| {what} | `{better}`, `{worse}` | {paper:+.1f}{recalled} | {mean:+.1f} ± {error:.1f} | {len(found)} | "
        f"{verdict(mean, error)} |"
    )


def main() -> None:
    """Read the runs and write the page."""
    table = read_json(RESULTS / "ablations.json")
    deviation = pooled_deviation([differences(*order[:2]) for order in ORDERS])
    lines = [
        "# The paper's orders, in miniature",
        "",
        "Written by `python benchmarks/orderings.py` from the runs of [ablations](ablations.md) and",
        f"[scenes-tiny](scenes-tiny.md); {table['machine']}, {table['date']}.",
        "The paper's APs are of COCO after 50 epochs of R50, ours of generated scenes after eight epochs of a tiny",
        f"model. Differences are taken seed by seed and vary by {deviation:.1f} from seed to seed, over all lines; an",
        f"order can be told where the mean difference is more than {CLEAR:.0f} standard errors.",
        "",
        "| | better and worse by the paper | AP, the paper | AP, here | seeds | the paper's order |",
        "|---|---|---|---|---|---|",
        *(line(*order, deviation) for order in ORDERS),
    ]
    write_atomically(RESULTS / "orderings.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
