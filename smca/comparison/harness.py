"""Trains every system alike, one after the other, and goes on wherever it was stopped.

The table is written anew after every run (folder.py says where what lies). Where the size warms its backbone up on
crops, that is done once a seed and shared: the same values for all, its seconds counted for all. A system that fails is
reported with its reason and the others go on; it is tried again when the comparison is. A disk that is full or may not
be written stops all. Raises OutputError when OUT holds another comparison or cannot be written.
"""

from __future__ import annotations

import dataclasses
import errno
import shutil
import time
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file
from torch import channels_last, nn
from transformers import set_seed

from smca.comparison.folder import PRETRAINED, ComparisonFolder, ComparisonRequest, label
from smca.comparison.measures import PeakMemory, measure
from smca.comparison.table import write_table
from smca.errors import ConfigurationError, OutputError
from smca.files import alone, read_json, write_atomically, write_json, writing
from smca.inference.loading import pick_device
from smca.machine import machine
from smca.progress import Progress, duration
from smca.training.detector import new_detector
from smca.training.launch import resume, train, warm_backbone
from smca.training.pretraining import pretrain
from smca.training.recipe import Recipe, with_request
from smca.training.recipes.contestants import contestant
from smca.training.request import TrainRequest

TIMED = 12
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Comparison:
    """One comparison on disk."""

    def __init__(self, request: ComparisonRequest, out: Path) -> None:
        self.request, self.out = request, out
        self.place = ComparisonFolder(request, out)
        self.recipes = {label(name): self._resolved(name) for name in request.models}
        if len(self.recipes) < len(request.models):
            raise ConfigurationError(f"two systems have one name: {', '.join(request.models)}")
        self.failed: dict[str, str] = {}

    def _resolved(self, name: str) -> Recipe:
        return with_request(contestant(name, self.request.size), self.request.training(0, label(name)))

    def run(self) -> Path:
        """Train what is not trained yet, measure it, write the table; returns the folder."""
        self.request.read()
        self._claim()
        with alone(self.out, "smca compare"):
            write_json(self.out / "comparison.json", self.request.to_json())
            self._run()
        return self.out

    def _run(self) -> None:
        runs = [(name, seed) for seed in range(self.request.seeds) for name in self.recipes]
        started, trained = time.monotonic(), 0
        with Progress("comparing") as progress:
            for done, (name, seed) in enumerate(runs, 1):
                trained += self._one(name, seed)
                write_table(self.place, self.recipes, self.failed)
                left = (time.monotonic() - started) / max(1, trained) * (len(runs) - done)
                progress.print(f"comparing: {done} of {len(runs)} runs ({name}), {duration(left)} left")

    def _claim(self) -> None:
        asked, path = self.request.to_json(), self.out / "comparison.json"
        if path.is_file() and _fixed(read_json(path)) != _fixed(asked):
            raise OutputError(
                f"{self.out} holds another comparison: choose another --out, or ask for the same (models and seeds may "
                "be others)"
            )
        if not path.is_file() and self.out.exists() and any(self.out.iterdir()):
            raise OutputError(f"{self.out} is in use and no comparison: choose another --out")
        for recipe in self.recipes.values():
            recipe.config()
        with writing(self.out):
            self.out.mkdir(parents=True, exist_ok=True)

    def _one(self, name: str, seed: int) -> bool:
        """Train and measure one run unless it is done; returns whether there was anything to do."""
        folder = self.place.folder(name, seed)
        if (folder.path / "measures.json").is_file():
            return False
        try:
            with PeakMemory() as memory:
                self._train(name, seed)
            found = {**measure(folder, self._looked_at(seed)), **memory.found(), **machine()}
            write_json(folder.path / "measures.json", found)
            self.failed.pop(name, None)
        except Exception as error:
            if _of_the_disk(error):
                raise
            self.failed[name] = f"seed {seed}: {' '.join(str(error).split()) or type(error).__name__}"
        return True

    def _looked_at(self, seed: int) -> list[Path]:
        """A few pictures to time predictions on."""
        data = self.request.read(seed)
        return [record.path for record in (data.val or data.train).records[:TIMED]]

    def _train(self, name: str, seed: int) -> None:
        folder = self.place.folder(name, seed)
        recipe = self._started_alike(self.recipes[name], seed)
        if (folder.path / "run.json").is_file():
            if len(folder.metrics()) < recipe.optimisation.epochs:
                resume(folder.path)
            return
        shutil.rmtree(folder.path, ignore_errors=True)  # of one that was killed before it knew what it was
        path = self.out / "recipes" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, recipe.to_yaml())
        common = self.request.training(seed)
        train(
            TrainRequest(
                data=common.data,
                recipe=str(path.resolve()),
                out=folder.path,
                init=self._pretrained(recipe, seed) if name == PRETRAINED else None,
                backbone_weights=recipe.backbone_weights,
                workers=common.workers,
                seed=seed,
                device=common.device,
                val_fraction=common.val_fraction,
                format=common.format,
            )
        )

    def _started_alike(self, recipe: Recipe, seed: int) -> Recipe:
        """The recipe with the seed's warmed backbone, where its size has one."""
        if not recipe.optimisation.crop_epochs or recipe.backbone_weights != "none":
            return recipe
        path = self.place.warmed(seed)
        if not path.is_file():
            self._warm_up(seed, path)
        plan = dataclasses.replace(recipe.optimisation, crop_epochs=0.0)
        return dataclasses.replace(recipe, optimisation=plan, backbone_weights=str(path.resolve()))

    def _pretrained(self, recipe: Recipe, seed: int) -> str:
        """Pre-train on DATA's train images, once a seed."""
        place, request = self.place.pretrained(seed), self.request
        finished = place.with_suffix(".json")
        if not finished.is_file():
            place.parent.mkdir(exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)  # of one that was killed
            data = request.read(seed)
            files = [record.path for record in data.train.records]
            seconds = pretrain(files, recipe, request.pretrain_epochs, place, seed=seed, device=request.device)
            write_json(finished, {"seconds": round(seconds, 3)})
        return str(place)

    def _warm_up(self, seed: int, path: Path) -> None:
        request = self.request.training(seed)
        recipe = with_request(contestant("smca", self.request.size), request)
        data = self.request.read(seed)
        set_seed(seed)
        model = new_detector(recipe.config(data.train.class_names))
        cast(nn.Module, model).to(pick_device(request.device))
        model.backbone.to(memory_format=channels_last)
        started = time.monotonic()
        warm_backbone(model, data.train, recipe, request)
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".new")
        save_file({key: value.contiguous() for key, value in model.backbone.body.state_dict().items()}, fresh)
        write_json(path.with_suffix(".json"), {"seconds": round(time.monotonic() - started, 3)})
        fresh.rename(path)


def _fixed(asked: dict[str, Any]) -> dict[str, Any]:
    """What may not change when a comparison goes on; more systems and seeds may join."""
    return {key: value for key, value in asked.items() if key not in ("models", "seeds")}


def _of_the_disk(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, is that nothing more can be written."""
    while error is not None and not (isinstance(error, OSError) and error.errno in FULL):
        error = error.__cause__ or error.__context__
    return error is not None
