"""The comparisons behind docs/results, as commands of `smca compare`; stopped, the script goes on.

    python -m benchmarks.evidence --shared ../shared [NAME ...]

    tuning           systems at each of six settings, on a part of the scenes' and of the blood cells' train split
    scenes-tiny      generated scenes, each system as it was best there: DETR, SMCA head-shared, multi-head, multi-scale
    scenes-detr      DETR alone for ten times as long: when does it take off?
    ablations        the paper's ablations in miniature, on the same scenes, beside the rows of scenes-tiny
    bccd-small       blood cells from scratch
    bccd-detr        DETR alone for four times as long
    bccd-lite0       the same with the EfficientNet-Lite0 backbone; UP-DETR too, pre-trained on the same pictures
    bccd-r50         blood cells at 800 pixels, R50 from scratch: only when asked for, and only where there is a GPU

Table and plot of each go to docs/results/NAME.{md,json,png}; what its runs measured, without weights, to
docs/results/evidence/NAME, from where another checkout goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.comparing import RECORDS, RESULTS, compare, part, portable, smca
from benchmarks.tuning import TRIALS, Tuning, write_page
from smca.files import read_json, write_atomically, write_json
from smca.training.recipes.contestants import contestant

KEPT = ("comparison.json", "table.json", "recipes/*.yaml", "backbones/*.json", "pretrained/*.json")
MEASURED = "measures.json"  # a run that has it is done
OURS = ("smca", "smca-single-scale", "smca-head-shared", "detr")
TWO = ("smca", "detr")
EPOCHS = 8
DIGITS = ("flip=0",)
LITE0 = (
    *("backbone=timm/tf_efficientnet_lite0", "backbone_norm=batch", "frozen_stages=3", "crop_epochs=8"),
    *("precision=fp32", "vertical_flip=.5"),
)
R50 = (
    *("backbone_norm=batch", "frozen_stages=0", "crop_epochs=8", "lr=2e-4", "backbone_lr=2e-4", "clip=1"),
    *("schedule=cosine", "warmup=.05", "pre_norm=true", "precision=bf16", "dropout=0", "attention_dropout=0"),
    "vertical_flip=.5",
)

ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "fixed-spread": ("smca-single-scale", {"spread": "fixed"}),
    "single-spread": ("smca-single-scale", {"spread": "single"}),
    "single-scale-c5": ("smca-single-scale", {"levels": ("c5",)}),  # the middle one of smca's three, as in the paper
    "intra-intra": ("smca", {"encoder": ("intra", "intra")}),
    "multi-multi": ("smca", {"encoder": ("multi", "multi")}),
    "no-selection": ("smca", {"scale_selection": False}),
    "shared-ffn": ("smca", {"shared_attention": False}),
    "shared-attention": ("smca", {"shared_ffn": False}),
    "nothing-shared": ("smca", {"shared_attention": False, "shared_ffn": False}),
}


class Evidence:
    """Where it all lies, and the comparisons by name."""

    def __init__(self, shared: Path, runs: Path) -> None:
        self.shared, self.runs = shared, runs
        self.scenes, self.cells = runs / "scenes", shared / "data" / "bccd"

    def run(self, name: str) -> None:
        """Make or finish one comparison; "tuning" is several."""
        if name == "tuning":
            self._tune()
            return
        if name == "scenes-tiny":
            self._compare(name, self.scenes, OURS, EPOCHS, self._on_scenes().best_of(OURS), "--seeds", "3")
        elif name == "scenes-detr":
            self._compare(name, self.scenes, ("detr",), 80, self._on_scenes().best_of(("detr",)))
        elif name == "ablations":
            self._ablations()
        elif name == "bccd-small":
            self._compare(name, self.cells, TWO, 40, self._from_scratch().best_of(TWO), "--size", "small")
        elif name == "bccd-detr":
            self._compare(name, self.cells, ("detr",), 160, self._from_scratch().best_of(("detr",)), "--size", "small")
        elif name == "bccd-r50":
            own = ("--size", "r50", "--backbone-weights", "none", "--device", "cuda")
            self._compare(name, self.cells, ("smca-single-scale", "detr"), 14, R50, *own)
        else:
            tuning, systems = self._on_lite0(), (*TWO, "up-detr")
            own = (*tuning.options, "--pretrain-epochs", "30")
            self._compare(name, self.cells, systems, 20, tuning.best_of(systems), *own)
        self._page(name)

    def _tune(self) -> None:
        tunings = (self._on_scenes(), self._from_scratch(), self._on_lite0())
        for tuning in tunings:
            tuning.run(self.runs)
        write_page(tunings)

    def _on_scenes(self) -> Tuning:
        if not self.scenes.exists():
            smca("data", "scenes", str(self.scenes), "--images", "1150", "--val-images", "150")
        data = part(self.scenes, self.runs / "scenes-part", slice(500), slice(500, 700))
        return Tuning("tuning-scenes", data, "500 scenes, judged by 200 others", OURS, 16, DIGITS)

    def _from_scratch(self) -> Tuning:
        data = part(self.cells, self.runs / "bccd-part", slice(None), slice(None, None, 5))
        what = "233 pictures of blood cells, judged by every fifth, 59"
        return Tuning("tuning-bccd-small", data, what, TWO, 16, (), ("--size", "small"))

    def _on_lite0(self) -> Tuning:
        weights = str(self.shared / "weights" / "efficientnet_lite0" / "model.safetensors")
        options = ("--size", "small", "--backbone-weights", weights)
        return dataclasses.replace(
            self._from_scratch(), name="tuning-bccd-lite0", epochs=8, settings=LITE0, options=options
        )

    def _ablations(self) -> None:
        """Rows that scenes-tiny has are taken from there."""
        out, source = self._restored("ablations", self.scenes), self._restored("scenes-tiny", self.scenes)
        tuning, files = self._on_scenes(), []
        settings = list(tuning.best_of(OURS[:3]))
        for name, (base, change) in ABLATIONS.items():
            recipe = contestant(base, "tiny")
            files.append(self.runs / f"{name}.yaml")
            write_atomically(files[-1], dataclasses.replace(recipe, model={**recipe.model, **change}).to_yaml())
            settings += [f"{name}:{one}" for one in TRIALS[tuning.best(base)]]
        for kind in ("runs", "backbones"):
            shutil.copytree(source / kind, out / kind, ignore=shutil.ignore_patterns("detr-*"), dirs_exist_ok=True)
        write_json(out / "comparison.json", read_json(source / "comparison.json") | {"overrides": settings})
        systems = (*OURS[:3], *map(str, files))
        self._compare("ablations", self.scenes, systems, EPOCHS, tuple(settings), "--seeds", "3")

    def _compare(
        self, name: str, data: Path, systems: tuple[str, ...], epochs: int, settings: tuple[str, ...], *more: str
    ) -> None:
        out = self._restored(name, data)
        try:
            compare(out, data, systems, epochs, settings, *more)
        finally:
            _keep(out, RECORDS / name)

    def _restored(self, name: str, data: Path) -> Path:
        """The folder of a comparison, with what another checkout measured if this one has not begun."""
        out, kept = self.runs / name, RECORDS / name
        if kept.exists() and not out.exists():
            shutil.copytree(kept, out)
            write_json(out / "comparison.json", read_json(out / "comparison.json") | {"data": str(data.resolve())})
        return out

    def _page(self, name: str) -> None:
        out = self.runs / name
        page = portable(out / "table.md").replace("convergence.png", f"{name}.png")
        write_atomically(RESULTS / f"{name}.md", page.replace("# Comparison", f"# Comparison: {name}", 1))
        write_atomically(RESULTS / f"{name}.json", portable(out / "table.json"))
        write_atomically(RESULTS / f"{name}.png", (out / "convergence.png").read_bytes())


def _keep(out: Path, kept: Path) -> None:
    """Copy what a comparison measured, of runs that are done."""
    files = [path for pattern in KEPT for path in out.glob(pattern)]
    for done in out.glob(f"runs/*/{MEASURED}"):
        files += [done, done.with_name("run.json"), done.with_name("metrics.jsonl")]
    for path in files:
        write_atomically(kept / path.relative_to(out), portable(path))


def main() -> None:
    """Run what was asked for."""
    cells = ("bccd-small", "bccd-detr", "bccd-lite0", "bccd-r50")
    names = ("tuning", "scenes-tiny", "scenes-detr", *cells[:3], "ablations", cells[3])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names)} (default: all that need no GPU)")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder with data/ and weights/")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"))
    arguments = parser.parse_args()
    if set(arguments.names) - set(names):
        parser.error(f"{json.dumps(arguments.names)}: allowed are {', '.join(names)}")
    for name in arguments.names or names[:-1]:
        Evidence(arguments.shared, arguments.runs).run(name)


if __name__ == "__main__":
    main()
