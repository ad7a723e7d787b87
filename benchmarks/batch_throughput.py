"""How many images a second `smca batch` does on this machine, and what a hundred million cost at that.

    python benchmarks/batch_throughput.py [--rounds N]           measures, writes docs/results/batch.json and the page
    python benchmarks/batch_throughput.py --page [--price 0.04]  the table of docs/scale-out.md anew, nothing measured

A round is one `smca batch` over generated scenes with one worker and one with two, by models of random weights: what a
picture costs does not depend on them. What is measured: images a second of a worker that has begun (decoding, model,
Parquet), and the seconds from the command to the end, in which Ray and the workers start.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from smca.data.scenes import make_scenes
from smca.deployment.batch.command import BatchRequest, predict_everything
from smca.files import read_json, write_atomically, write_json
from smca.machine import machine
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training.detector import new_detector
from smca.training.recipes import find_recipe

IMAGES = {"smca-tiny": 500, "smca-r50": 16}
WORKERS = (1, 2)
TARGET = 100_000_000
PRICE = 0.04  # dollars a core and hour: an assumption, the reader's to change
RESULTS, PAGE = Path("docs/results/batch.json"), Path("docs/scale-out.md")
BEGIN, END = "<!-- written by benchmarks/batch_throughput.py -->", "<!-- end -->"


def new_model(recipe_name: str, folder: Path) -> Path:
    """A model folder with the recipe's initial values."""
    recipe = find_recipe(recipe_name)
    model = new_detector(recipe.config(tuple(str(digit) for digit in range(10))))
    model.save_pretrained(folder)
    size = {"shortest_edge": recipe.image_size, "longest_edge": recipe.long_side}
    SmcaImageProcessor.suited_to(model.config, size).save_pretrained(folder)
    return folder


def measured(rounds: int, place: Path) -> list[dict[str, Any]]:
    """A row for each model and number of workers, medians over the rounds."""
    rows: list[dict[str, Any]] = []
    for name, count in IMAGES.items():
        model = new_model(name, place / name)
        scenes = make_scenes(place / f"scenes-{name}", images=count, seed=0) / "images"
        for workers in WORKERS:
            runs = []
            for number in range(rounds):
                out = place / f"{name}-{workers}-{number}"
                request = BatchRequest(model, str(scenes), out, 0.5, shard=8, workers=workers, device="cpu")
                runs.append(predict_everything(request, print).to_json())
            rows.append({"recipe": name, "short_side": find_recipe(name).image_size, **medians(runs)})
            print(rows[-1], flush=True)
    return rows


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the runs have in common, and the median of each rate and time."""
    names = ("seconds", "images_per_second", "worker_seconds", "images_per_worker_second")
    common = {name: runs[0][name] for name in ("images", "workers", "device")}
    return {**common, "rounds": len(runs), **{name: statistics.median(run[name] for run in runs) for name in names}}


def table(results: dict[str, Any], price: float) -> str:
    """The cost of TARGET images for each row measured; r is of one worker."""
    lines = [
        f"Measured on {results['date']}: {results['machine']}. {results['note']}".rstrip(),
        "",
        f"| recipe | short side | workers | r, images/s | core hours | days on 1,000 cores | dollars at {price:g} |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        hours = TARGET / row["images_per_worker_second"] / 3600
        lines.append(
            f"| {row['recipe']} | {row['short_side']} px | {row['workers']} | {row['images_per_worker_second']:.2f} "
            f"| {hours:,.0f} | {hours / 1000 / 24:.2g} | {hours * price:,.0f} |"
        )
    return "\n".join(lines)


def write_page(results: dict[str, Any], price: float) -> None:
    """Put the table where the page has its marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    write_atomically(PAGE, f"{before}{BEGIN}\n{table(results, price)}\n{END}{after}")


def main() -> None:
    """Measure unless told not to, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--price", type=float, default=PRICE, help="dollars a core and hour")
    parser.add_argument("--note", default="", help="what to say of the measurement")
    arguments = parser.parse_args()
    if not arguments.page:
        with tempfile.TemporaryDirectory() as place:
            rows = measured(arguments.rounds, Path(place))
        write_json(RESULTS, {**machine(), "note": arguments.note, "rows": rows})
    write_page(read_json(RESULTS), arguments.price)


if __name__ == "__main__":
    main()
