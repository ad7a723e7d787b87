"""A recipe: everything that decides a training run but the data, as plain values that survive YAML.

Learning rates belong to the recipe's batch; `--batch` changes both by the square root of the ratio (Adam). Schedules
are fractions of the epochs, so they stretch with `--epochs`.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.errors import StrictDataclassError

from smca.comparison.peers.configuration import PeerConfig
from smca.data.transforms import Augmentation
from smca.errors import ConfigurationError, nearest
from smca.modeling.configuration import SmcaConfig
from smca.training.request import TrainRequest

CONFIGURATIONS: dict[str, type[SmcaConfig]] = {config.model_type: config for config in (SmcaConfig, PeerConfig)}
CHOICES = {
    "schedule": ("step", "cosine"),
    "precision": ("fp32", "bf16", "fp16"),
    "non_finite": ("stop", "skip"),
}
AMOUNTS = ("lr", "backbone_lr", "weight_decay", "clip", "drop_at", "warmup", "crop_epochs", "averaging", "patience")
COUNTS = ("epochs", "batch", "micro_batch")


class _Reader(yaml.SafeLoader):
    """YAML that reads 1e-4 as a number, which PyYAML's older rule takes for text."""


_Reader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


@dataclass(frozen=True)
class Origin:
    """Where a recipe comes from and what to expect of it."""

    description: str
    paper_row: str = "-"
    expected_ap: float | None = None
    measured_by: str = "-"
    hardware: str = "-"
    hours: str = "-"


@dataclass(frozen=True)
class Optimisation:
    """AdamW and its schedule; epochs as counts, `drop_at` and `warmup` as fractions of them.

    schedule: "step" (times .1 at `drop_at`) or "cosine" (to zero); warmup: linear, from zero; crop_epochs: passes over
    the data in which the backbone first learns to name and frame objects in crops (crop_warm_up.py), 0 for none.
    reference_factor: of the learning rate for what says where queries look from (query positions, centre MLP): a step
    of Adam that is small for other weights moves every centre at once, some by cells.
    averaging: decay of the moving average of the weights that is evaluated and saved (averaging.py), 0 for none;
    patience: epochs without a better AP after which training ends, 0 for never.
    non_finite: at an update whose loss or gradients are not finite, "stop", or "skip" it (finite.py).
    """

    epochs: int = 50
    batch: int = 8
    lr: float = 1e-4
    backbone_lr: float = 1e-5
    reference_factor: float = 1.0
    weight_decay: float = 1e-4
    clip: float = 0.1
    schedule: str = "step"
    drop_at: float = 0.8
    warmup: float = 0.0
    crop_epochs: float = 0.0
    precision: str = "fp32"
    micro_batch: int = 8
    averaging: float = 0.0
    patience: int = 0
    non_finite: str = "stop"

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigurationError(f"{name} is '{getattr(self, name)}'; allowed: {', '.join(allowed)}")
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; allowed: 1 or more")
        for name in AMOUNTS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name} is {getattr(self, name)}; allowed: 0 or more")
        if self.averaging >= 1:
            raise ConfigurationError(f"averaging is {self.averaging}; allowed: 0 (none) to below 1, such as .998")


@dataclass(frozen=True)
class Recipe:
    """`model`: switches of the configuration of that `model_type`, "smca" or "smca-peer"; `backbone_weights`: none,
    imagenet or a path; `image_size`: the short side.
    """

    name: str
    origin: Origin
    model: dict[str, Any]
    optimisation: Optimisation = field(default_factory=Optimisation)
    augmentation: Augmentation = field(default_factory=Augmentation.paper)
    backbone_weights: str = "none"
    image_size: int = 800
    long_side: int = 1333
    model_type: str = SmcaConfig.model_type

    def __post_init__(self) -> None:
        if self.model_type not in CONFIGURATIONS:
            raise ConfigurationError(f"model_type is '{self.model_type}'; allowed: {', '.join(CONFIGURATIONS)}")
        for name in ("image_size", "long_side"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; allowed: 1 or more")

    @property
    def description(self) -> str:
        return self.origin.description

    @property
    def paper_row(self) -> str:
        return self.origin.paper_row

    @property
    def expected_ap(self) -> float | None:
        return self.origin.expected_ap

    @property
    def measured_by(self) -> str:
        return self.origin.measured_by

    @property
    def hardware(self) -> str:
        return self.origin.hardware

    @property
    def hours(self) -> str:
        return self.origin.hours

    @property
    def command(self) -> str:
        return f"smca train DATA --recipe {self.name}"

    def config(self, class_names: tuple[str, ...] | None = None) -> SmcaConfig:
        """The model's configuration; without class names it has 91 classes, as COCO's ids."""
        switches = dict(self.model)
        if class_names is not None:
            switches["id2label"] = dict(enumerate(class_names))
            switches["label2id"] = {name: label for label, name in enumerate(class_names)}
        try:
            return CONFIGURATIONS[self.model_type](**switches)
        except StrictDataclassError as error:
            raise ConfigurationError(" ".join(str(error).split("Error: ", 1)[-1].split())) from error

    def to_yaml(self) -> str:
        """All of it, readable by `from_yaml`."""
        values = dataclasses.asdict(self)
        values["model"] = {**switches_of(self.config()), **self.model}
        return yaml.safe_dump(_builtin(values), sort_keys=False)


def is_file(name: str) -> bool:
    """Whether what stands for a recipe is a file and not a name."""
    return name.endswith((".yaml", ".yml"))


def from_yaml(path: Path) -> Recipe:
    """A recipe written by `--print_config`, whole or in part."""
    try:
        return _recipe({"name": path.stem, "origin": {"description": f"from {path.name}"}, **_parsed(path.read_text())})
    except (yaml.YAMLError, KeyError, TypeError, OSError, UnicodeDecodeError, ConfigurationError) as error:
        raise ConfigurationError(
            f"{path} is not a recipe ({' '.join(str(error).split())}); start from --print_config"
        ) from error


def _recipe(values: dict[str, Any]) -> Recipe:
    blank = Recipe(values["name"], Origin(**values["origin"]), {**values["model"]})
    plain = {
        key: value
        for key, value in values.items()
        if key not in ("name", "origin", "model", "optimisation", "augmentation")
    }
    recipe = _changed(blank, plain)
    return dataclasses.replace(
        recipe,
        optimisation=_changed(recipe.optimisation, values.get("optimisation", {})),
        augmentation=_changed(Augmentation.paper(recipe.image_size), values.get("augmentation", {})),
    )


def with_request(recipe: Recipe, request: TrainRequest) -> Recipe:
    """The recipe as the user's options change it."""
    for text in request.overrides:
        recipe = _override(recipe, text)
    plan = recipe.optimisation
    if request.batch is not None:
        factor = (request.batch / plan.batch) ** 0.5
        plan = dataclasses.replace(
            plan, batch=request.batch, lr=plan.lr * factor, backbone_lr=plan.backbone_lr * factor
        )
    if request.lr is not None:
        plan = dataclasses.replace(plan, lr=request.lr, backbone_lr=plan.backbone_lr * request.lr / plan.lr)
    if request.epochs is not None:
        plan = dataclasses.replace(plan, epochs=request.epochs)
    if request.precision:
        plan = dataclasses.replace(plan, precision=request.precision)
    recipe = dataclasses.replace(recipe, optimisation=plan)
    if request.image_size is not None:
        recipe = resized(recipe, request.image_size)
    return dataclasses.replace(recipe, backbone_weights=request.backbone_weights or recipe.backbone_weights)


def resized(recipe: Recipe, image_size: int) -> Recipe:
    """The recipe for another short side: every length of it in proportion."""

    def scaled(value: Any) -> Any:
        return (
            tuple(map(scaled, value))
            if isinstance(value, tuple)
            else max(1, round(value * image_size / recipe.image_size))
        )

    lengths = ("short_sides", "long_side", "crop_resize", "crop_smallest", "crop_largest")
    changes = {
        name: scaled(getattr(recipe.augmentation, name)) for name in lengths if getattr(recipe.augmentation, name)
    }
    augmentation = dataclasses.replace(recipe.augmentation, **changes)
    return dataclasses.replace(
        recipe, image_size=image_size, long_side=scaled(recipe.long_side), augmentation=augmentation
    )


def _override(recipe: Recipe, text: str) -> Recipe:
    key, separator, value = text.partition("=")
    if not separator:
        raise ConfigurationError(f"--set takes KEY=VALUE, found '{text}'")
    switches = switches_of(CONFIGURATIONS[recipe.model_type]())
    settings = {**switches, **vars(recipe.optimisation), **vars(recipe.augmentation)}
    if isinstance(settings.get(key), tuple) and not value.startswith("["):
        value = f"[{value}]"
    try:
        change = {key: _parsed(value)}
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--set {key}: '{value}' is not a YAML value") from error
    if key in switches:
        if isinstance(switches[key], float):
            change = {key: _like(switches[key], key, change[key])}
        return dataclasses.replace(recipe, model={**recipe.model, **change})
    for part in ("optimisation", "augmentation"):
        if key in _names(getattr(recipe, part)):
            return dataclasses.replace(recipe, **{part: _changed(getattr(recipe, part), change)})
    if key == "image_size":
        return resized(recipe, _changed(recipe, change).image_size)
    if key in ("long_side", "backbone_weights"):
        return _changed(recipe, change)
    known = [
        *switches,
        *_names(recipe.optimisation),
        *_names(recipe.augmentation),
        "image_size",
        "backbone_weights",
    ]
    raise ConfigurationError(f"--set knows no '{key}'.{nearest(key, known)} `--print_config` lists all keys")


def _changed(settings: Any, values: dict[str, Any]) -> Any:
    """`settings` with some values changed, each of the same type as before."""
    known = _names(settings)
    for key in values:
        if key not in known:
            raise ConfigurationError(f"unknown key '{key}'.{nearest(key, known)}")
    return dataclasses.replace(settings, **{key: _like(getattr(settings, key), key, v) for key, v in values.items()})


def _like(before: Any, key: str, value: Any) -> Any:
    """`value` as the type of `before`: a whole number may stand for a float; lists are of pixels."""
    if isinstance(before, tuple) and isinstance(value, tuple):
        if not all(type(part) is int for part in value):
            raise ConfigurationError(f"{key} takes whole numbers such as 256,320, found '{value}'")
        return value
    if isinstance(before, float) and type(value) is int:
        return float(value)
    if type(value) is not type(before):
        raise ConfigurationError(f"{key} takes a {type(before).__name__} such as {before}, found '{value}'")
    return value


def _parsed(text: str) -> Any:
    """What YAML says; lists become tuples."""
    return _tuples(_Reader(text).get_single_data())


def _names(settings: Any) -> list[str]:
    return [part.name for part in dataclasses.fields(settings)]


def switches_of(config: SmcaConfig) -> dict[str, Any]:
    """A configuration's own fields, without transformers'."""
    own = {**SmcaConfig.__annotations__, **type(config).__annotations__}
    return {name: getattr(config, name) for name in _names(config) if name in own}


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _builtin(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _builtin(part) for key, part in value.items()}
    return [_builtin(part) for part in value] if isinstance(value, (tuple, list)) else value
