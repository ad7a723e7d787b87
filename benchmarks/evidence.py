"""The comparisons behind docs/results, as commands of `smca compare`; stopped, the script goes on.

    python benchmarks/evidence.py --shared ../shared [NAME ...]

    tuning           every system at each of TRIALS, 500 scenes of train, 200 others of train to judge by
    scenes-tiny      generated scenes, each system as it was best there: DETR, SMCA head-shared, multi-head, multi-scale
    scenes-detr      DETR alone for ten times as long: when does it take off?
    ablations        the paper's ablations in miniature, on the same scenes, beside the rows of scenes-tiny
    bccd-small       blood cells from scratch, with what was best on the scenes
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
import subprocess
import sys
from pathlib import Path
from typing import Any

from smca.files import read_json, write_atomically, write_json
from smca.training.recipes.contestants import contestant

RESULTS = Path(__file__).parents[1] / "docs" / "results"
RECORDS = RESULTS / "evidence"
KEPT = ("comparison.json", "table.json", "recipes/*.yaml", "backbones/*.json")
MEASURED = "measures.json"  # a run that has it is done
OURS = ("smca", "smca-single-scale", "smca-head-shared", "detr")
SLOW = ("lr=3e-4", "backbone_lr=3e-4")
TRIALS: dict[str, tuple[str, ...]] = {
    "as-smca-tiny": (),
    "rate-3e-4": SLOW,
    "norms-after": ("pre_norm=false",),
    "queries-not-slowed": ("reference_factor=1",),
    "longer-warm-up": ("warmup=.2",),
    "all-of-these": (*SLOW, "pre_norm=false", "reference_factor=1", "warmup=.2"),
}
TRIAL_EPOCHS, EPOCHS, LONG = 16, 8, 80
LEARNED = 0.01  # an AP below it is noise: then the loss decides
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
        self.scenes, self.part = runs / "scenes", runs / "scenes-part"

    def run(self, name: str) -> None:
        """Make or finish one comparison; "tuning" is several."""
        self._data()
        if name == "tuning":
            for trial, settings in TRIALS.items():
                self._try(trial, settings)
            self._tuning_page()
        elif name == "scenes-tiny":
            self._compare(name, self.scenes, OURS, EPOCHS, self._tuned(OURS), "--seeds", "3")
        elif name == "scenes-detr":
            self._compare(name, self.scenes, ("detr",), LONG, self._tuned(("detr",)))
        elif name == "ablations":
            self._ablations()
        elif name == "bccd-small":
            own = self._tuned(("smca", "detr"))
            self._compare(name, self.shared / "data" / "bccd", ("smca", "detr"), 40, own, "--size", "small")
        elif name == "bccd-r50":
            own = ("--size", "r50", "--backbone-weights", "none", "--device", "cuda")
            self._compare(name, self.shared / "data" / "bccd", ("smca-single-scale", "detr"), 14, R50, *own)
        else:
            weights = str(self.shared / "weights" / "efficientnet_lite0" / "model.safetensors")
            own = ("--size", "small", "--backbone-weights", weights, "--pretrain-epochs", "30")
            settings = (*LITE0, *self._tuned(("smca", "detr")), *self._tuned(("detr",), "up-detr"))
            self._compare(name, self.shared / "data" / "bccd", ("smca", "detr", "up-detr"), 20, settings, *own)
        if name != "tuning":
            self._page(name)

    def _ablations(self) -> None:
        """Rows that scenes-tiny has are taken from there."""
        out, source = self._restored("ablations", self.scenes), self._restored("scenes-tiny", self.scenes)
        settings, files = list(self._tuned(OURS[:3])), []
        for name, (base, change) in ABLATIONS.items():
            recipe = contestant(base, "tiny")
            files.append(self.runs / f"{name}.yaml")
            write_atomically(files[-1], dataclasses.replace(recipe, model={**recipe.model, **change}).to_yaml())
            settings += [f"{name}:{one}" for one in TRIALS[self._best(base)]]
        for kind in ("runs", "backbones"):
            shutil.copytree(source / kind, out / kind, ignore=shutil.ignore_patterns("detr-*"), dirs_exist_ok=True)
        write_json(
            out / "comparison.json", read_json(source / "comparison.json") | {"overrides": ["flip=0", *settings]}
        )
        systems = (*OURS[:3], *map(str, files))
        self._compare("ablations", self.scenes, systems, EPOCHS, tuple(settings), "--seeds", "3")

    def _data(self) -> None:
        if not self.scenes.exists():
            _smca("data", "scenes", str(self.scenes), "--images", "1150", "--val-images", "150")
        if not self.part.exists():
            whole = read_json(self.scenes / "train.json")
            self.part.mkdir()
            (self.part / "images").symlink_to(self.scenes.resolve() / "images")
            for split, few in (("train", whole["images"][:500]), ("val", whole["images"][500:700])):
                known = {image["id"] for image in few}
                boxes = [box for box in whole["annotations"] if box["image_id"] in known]
                write_json(self.part / f"{split}.json", {**whole, "images": few, "annotations": boxes})

    def _try(self, trial: str, settings: tuple[str, ...]) -> None:
        kept, out = RECORDS / "tuning" / f"{trial}.json", self.runs / "tuning" / trial
        if not kept.exists():
            _compare(out, self.part, OURS, TRIAL_EPOCHS, settings)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, _portable(out / "table.json"))

    def _compare(
        self, name: str, data: Path, systems: tuple[str, ...], epochs: int, settings: tuple[str, ...], *more: str
    ) -> None:
        out = self._restored(name, data)
        try:
            _compare(out, data, systems, epochs, settings, *more)
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
        page = _portable(out / "table.md").replace("convergence.png", f"{name}.png")
        write_atomically(RESULTS / f"{name}.md", page.replace("# Comparison", f"# Comparison: {name}", 1))
        write_atomically(RESULTS / f"{name}.json", _portable(out / "table.json"))
        write_atomically(RESULTS / f"{name}.png", (out / "convergence.png").read_bytes())

    def _trials(self, system: str) -> dict[str, dict[str, Any]]:
        """The row of each trial that the system was given."""
        tables = {trial: read_json(RECORDS / "tuning" / f"{trial}.json")["rows"] for trial in TRIALS}
        return {trial: row for trial, rows in tables.items() for row in rows if row["model"] == system}

    def _best(self, system: str) -> str:
        trials = self._trials(system)
        if max(row["AP"] for row in trials.values()) < LEARNED:
            return min(trials, key=lambda trial: trials[trial]["last_loss"])
        return max(trials, key=lambda trial: trials[trial]["AP"])

    def _tuned(self, systems: tuple[str, ...], heir: str = "") -> tuple[str, ...]:
        """What was best for each, as settings of it, or of the `heir` that is another's kin and was not tuned."""
        return tuple(f"{heir or system}:{setting}" for system in systems for setting in TRIALS[self._best(system)])

    def _tuning_page(self) -> None:
        lines = [
            "# Tuning of the systems compared",
            "",
            f"`python benchmarks/evidence.py tuning`: {TRIAL_EPOCHS} epochs of 500 scenes of train, 200 others",
            "as val, seed 0. AP in percent, loss of the last epoch; chosen: the best AP or, where nothing was learned,",
            "the lowest loss. `smca-tiny` itself, from which all trials start, was chosen with SMCA in many more.",
            "",
            f"| trial | settings | {' | '.join(OURS)} |",
            "|---" * (2 + len(OURS)) + "|",
        ]
        for trial, settings in TRIALS.items():
            cells = [self._cell(system, trial) for system in OURS]
            lines.append(f"| {trial} | {' '.join(f'`{one}`' for one in settings)} | {' | '.join(cells)} |")
        write_atomically(RESULTS / "tuning.md", "\n".join([*lines, ""]))

    def _cell(self, system: str, trial: str) -> str:
        row = self._trials(system)[trial]
        text = f"{100 * row['AP']:.1f} ({row['last_loss']:.2f})"
        return f"**{text}**" if trial == self._best(system) else text


def _keep(out: Path, kept: Path) -> None:
    """Copy what a comparison measured, of runs that are done."""
    files = [path for pattern in KEPT for path in out.glob(pattern)]
    for done in out.glob(f"runs/*/{MEASURED}"):
        files += [done, done.with_name("run.json"), done.with_name("metrics.jsonl")]
    for path in files:
        write_atomically(kept / path.relative_to(out), _portable(path))


def _portable(file: Path) -> str:
    """Its text without this machine's path to the repository, where the script is run, and to what is beside it."""
    return file.read_text().replace(f"{Path.cwd()}/", "").replace(f"{Path.cwd().parent}/", "../")


def _compare(
    out: Path, data: Path, systems: tuple[str, ...], epochs: int, settings: tuple[str, ...], *more: str
) -> None:
    words = ["--models", ",".join(systems), "--epochs", str(epochs), "--set", "flip=0", *settings]
    _smca("compare", str(data), *words, *more, "--out", str(out))


def _smca(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "smca", *words], check=True)


def main() -> None:
    """Run what was asked for."""
    names = ("tuning", "scenes-tiny", "scenes-detr", "ablations", "bccd-small", "bccd-lite0", "bccd-r50")
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
