"""The paper's claim and the order of its ablations, in miniature: docs/results/evidence -> docs/results/orderings.md.

    python benchmarks/orderings.py

The claim: in which epoch SMCA passes the best AP that DETR has in all of its epochs. The orders: a line for each two
rows that the paper compares, the better one first. Differences are taken seed by seed: runs of one seed share scenes,
their order and the backbone's start. How much a difference varies from seed to seed is pooled over all lines, for two
or three seeds of one line say too little of it.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import cast

from smca.files import write_atomically
from smca.training.recipes import find_recipe
from smca.training.recipes.rows import RECALLED
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
RACES = (  # what was learned; DETR's comparison, SMCA's, and the system
    ("generated scenes, tiny", "scenes-detr", "scenes-tiny", "smca"),
    ("generated scenes, tiny", "scenes-detr", "scenes-tiny", "smca-single-scale"),
    ("generated scenes, tiny", "scenes-detr", "scenes-tiny", "smca-head-shared"),
    ("blood cells, from scratch", "bccd-detr", "bccd-small", "smca"),
    ("blood cells, EfficientNet-Lite0", "bccd-lite0", "bccd-lite0", "smca"),
)


def curves(comparison: str, row: str) -> dict[int, list[float]]:
    """AP after each epoch, in percent, of each run of a row, by seed."""
    runs = sorted((RESULTS / "evidence" / comparison / "runs").glob(f"{row}-?"))
    return {int(run.name[-1]): [100 * epoch["AP"] for epoch in RunFolder(run).metrics()] for run in runs}


def best_by_seed(row: str) -> dict[int, float]:
    """Best AP of each run of a row of the ablations."""
    found = curves("scenes-tiny" if row == "detr" else "ablations", row)
    return {seed: max(curve) for seed, curve in found.items()}


def race(data: str, slow: str, fast: str, row: str) -> str:
    """One row of the table of the claim."""
    theirs, ours = curves(slow, "detr")[0], curves(fast, row)
    best = max(theirs)
    passed = [next(epoch for epoch, ap in enumerate(curve, 1) if ap > best) for curve in ours.values()]
    final = " / ".join(f"{max(curve):.1f}" for curve in ours.values())
    reached = theirs.index(best) + 1
    return (
        f"| {data} | {best:.1f} in epoch {reached} of {len(theirs)} | `{row}` | {final} in {len(ours[0])} | "
        f"{' / '.join(map(str, passed))} | {reached / max(passed):.0f} |"
    )


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
    recalled = " (recalled)" if RECALLED in [one.measured_by for one in papers] else ""
    paper = cast(float, papers[0].expected_ap) - cast(float, papers[1].expected_ap)
    return (
        f"| {what} | `{better}`, `{worse}` | {paper:+.1f}{recalled} | {mean:+.1f} ± {error:.1f} | {len(found)} | "
        f"{verdict(mean, error)} |"
    )


def main() -> None:
    """Read the runs and write the page."""
    deviation = pooled_deviation([differences(*order[:2]) for order in ORDERS])
    lines = [
        "# The paper's claim and its orders, in miniature",
        "",
        "Written by `python benchmarks/orderings.py` from the runs of [scenes-tiny](scenes-tiny.md),",
        "[scenes-detr](scenes-detr.md), [bccd-small](bccd-small.md), [bccd-detr](bccd-detr.md),",
        "[bccd-lite0](bccd-lite0.md) and [ablations](ablations.md), which name machine and day.",
        "",
        "## When SMCA passes the best that DETR has",
        "",
        "AP in percent, one seed of DETR, all of SMCA; the factor is DETR's epochs over those of SMCA's slowest seed.",
        "Beyond DETR's best there is only a bound: it does not get there in the epochs it had.",
        "",
        "| data | DETR's best AP | system | AP of each seed, in epochs | passes DETR's best in epoch | factor |",
        "|---|---|---|---|---|---|",
        *(race(*one) for one in RACES),
        "",
        "## The orders of the ablations",
        "",
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
