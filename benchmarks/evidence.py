"""The comparisons behind docs/results, as commands of `smca compare`; stopped, the script goes on.

    python benchmarks/evidence.py --shared ../shared [NAME ...]

    scenes-tiny      generated scenes: DETR, Conditional, Deformable, and SMCA head-shared, multi-head, multi-scale
    scenes-detr      DETR alone for eight times as long: when does it take off?
    bccd-small       blood cells from scratch

Run one at a time on an idle machine. Table and plot of each go to docs/results/NAME.{md,json,png}.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from smca.files import write_atomically

RESULTS = Path(__file__).parents[1] / "docs" / "results"
DETRS = "smca,smca-single-scale,smca-head-shared,detr,conditional-detr,deformable-detr"


def comparisons(shared: Path, runs: Path) -> dict[str, list[str]]:
    """Name -> arguments of `smca compare`."""
    scenes = str(runs / "scenes")
    return {
        "scenes-tiny": [scenes, "--models", DETRS, "--epochs", "8", "--seeds", "3", "--set", "flip=0"],
        "scenes-detr": [scenes, "--models", "detr", "--epochs", "64", "--set", "flip=0"],
        "bccd-small": [str(shared / "data" / "bccd"), "--models", "smca,detr", "--size", "small", "--epochs", "30"],
    }


def main() -> None:
    """Run what was asked for, and copy the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="comparisons (default: all)")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder with data/")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"))
    arguments = parser.parse_args()
    if not (arguments.runs / "scenes").exists():
        _smca(
            "data", "scenes", str(arguments.runs / "scenes"), "--images", "1150", "--val-images", "150", "--seed", "0"
        )
    known = comparisons(arguments.shared, arguments.runs)
    for name in arguments.names or known:
        out = arguments.runs / name
        _smca("compare", *known[name], "--out", str(out))
        page = (out / "table.md").read_text().replace(f"{Path.cwd()}/", "").replace("convergence.png", f"{name}.png")
        write_atomically(RESULTS / f"{name}.md", page)
        for kind, suffix in (("table.json", "json"), ("convergence.png", "png")):
            write_atomically(RESULTS / f"{name}.{suffix}", (out / kind).read_bytes())


def _smca(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "smca", *words], check=True)


if __name__ == "__main__":
    main()
