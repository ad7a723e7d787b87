"""docs/results/gpu.md from the numbers that `python benchmarks/gpu` left:

python benchmarks/gpu/page.py [--numbers docs/results/gpu/speed.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from smca.files import read_json, write_atomically

PAGE = Path(__file__).parents[2] / "docs" / "results" / "gpu.md"


def page(found: dict[str, Any]) -> str:
    """The numbers as a page."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        "# One GPU",
        "",
        f"Written by `python benchmarks/gpu` and its `page.py`. {found['machine']}; {versions}; {found['date']}.",
        "",
        "Training of R50 at 800x1333, bfloat16; share of peak: three times a forward's operations.",
        "",
        *_table([found[key] for key in found if key.startswith("training")]),
        "",
        "Single-scale R50 loaded for inference, one picture of 800x1333: "
        + ", ".join(f"{name.removeprefix('torch.')} {ms:.0f} ms" for name, ms in found["inference, ms"].items())
        + ".",
        "",
        *_busy(found.get("busy")),
        "Forms of co-attention against E5 in float64: largest error of outputs, relative errors of gradients.",
        "",
        *_table(_errors(found["correctness"])),
        "",
        "Ratios: medians over rounds in which both sides ran in turn, with quartiles; below 1 the first is faster.",
        "",
        *_table([_ratio(row) for row in (*found["loss"], *found["attention"])]),
    ]
    return "\n".join(lines) + "\n"


def _errors(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("query", "key", "value", "centre", "precision")
    return [
        {"form": case["form"], "shape": case["shape"], "outputs": case["error"]}
        | dict(zip(names, case["gradients q k v centre A"], strict=True))
        for case in cases
    ]


def _busy(found: dict[str, Any] | None) -> list[str]:
    if found is None:
        return []
    rows = [{"kernel": f"`{name}`", "ms": ms} for name, ms in found["longest"].items()]
    words = f"In a single-scale step of {found['step, ms']:.0f} ms the device works {found['device busy, ms']:.0f} ms:"
    return [words, "", *_table(rows), ""]


def _ratio(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "group": row["group"],
        "what": f"{row['what']} : {row['against']}",
        "ratio": row["ratio"],
        "quartiles": f"{row['low']:.2f} to {row['high']:.2f}",
        "ms": f"{row['milliseconds']:.2f} : {row['against_milliseconds']:.2f}",
        "setting": row["setting"],
    }


def _table(rows: list[dict[str, Any]]) -> list[str]:
    cells = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (list(rows[0]), ["---"] * len(rows[0]), *cells)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=Path, default=PAGE.parent / "gpu" / "speed.json")
    write_atomically(PAGE, page(read_json(parser.parse_args().numbers)))
