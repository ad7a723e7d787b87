"""What an exported file says of itself, so that it needs no folder: classes, threshold, preprocessing, what it takes.

Texts under the names below, "smca." before each, in ONNX's metadata_props, OpenVINO's rt_info ("smca" is a level there)
and the extra file smca.json of torch.export. All of it is read as data, checked, and never run. Raises ModelError, one
line, for a file that has no such texts, or wrong ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from transformers import AutoConfig

from smca.comparison.peers.configuration import PeerConfig
from smca.errors import ModelError
from smca.inference.preprocessing import processor_from
from smca.modeling.configuration import SmcaConfig
from smca.modeling.image_processing import SmcaImageProcessor

ExportPrecision = Literal["fp32", "bf16", "int8"]
FORMAT_VERSION = "1"
PREFIX = "smca."
NAMES = (
    "format_version",
    "model_type",
    "class_names",
    "threshold",
    "preprocessing",
    "configuration",
    "precision",
    "sides",
)
ELSEWHERE = ("id2label", "label2id", "threshold", "model_type")  # of a configuration, said by names of their own


@dataclass(frozen=True)
class Sides:
    """What the graph asks of the images it is given, in pixels; the runtime pads to it (exported.py).

    multiple: of it both sides are; smallest: no side is shorter; one_size: images of a batch are all of one size (the
    network mixes all cells of an image, so that padding would change what it sees).
    """

    multiple: int = 1
    smallest: int = 1
    one_size: bool = False


@dataclass(frozen=True)
class Manifest:
    """The model's configuration (with class names and threshold), its image processor, and what the graph is."""

    config: SmcaConfig
    processor: SmcaImageProcessor
    precision: ExportPrecision
    sides: Sides

    def to_texts(self) -> dict[str, str]:
        """Return the texts to store."""
        known = self.config.to_diff_dict()
        labels = {int(label): name for label, name in (self.config.id2label or {}).items()}
        names = [labels[label] for label in range(len(labels))]
        values = (
            FORMAT_VERSION,
            self.config.model_type,
            json.dumps(names, ensure_ascii=False),
            repr(float(self.config.threshold)),
            json.dumps(self.processor.to_dict(), sort_keys=True),
            json.dumps({key: value for key, value in known.items() if key not in ELSEWHERE}),
            self.precision,
            json.dumps(vars(self.sides)),
        )
        return {PREFIX + name: value for name, value in zip(NAMES, values, strict=True)}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], file: object) -> Manifest:
        """Check the texts of `file` and return what they say."""
        lacking = [name for name in NAMES if PREFIX + name not in texts]
        if lacking:
            raise ModelError(f"{file} was not written by `smca export`: its metadata has no {PREFIX}{lacking[0]}")
        own = {name: texts[PREFIX + name] for name in NAMES}
        if own["format_version"] != FORMAT_VERSION:
            found = own["format_version"][:20]
            raise ModelError(f"{file} has smca.format_version '{found}'; this version reads: {FORMAT_VERSION}")
        try:
            return cls(
                _config(own),
                processor_from(json.loads(own["preprocessing"])),
                _precision(own["precision"]),
                _sides(own),
            )
        except Exception as error:
            raise ModelError(f"the metadata of {file} is broken: {' '.join(str(error).split())[:300]}") from error


def _config(own: Mapping[str, str]) -> SmcaConfig:
    types = (SmcaConfig.model_type, PeerConfig.model_type)
    if own["model_type"] not in types:
        raise ValueError(f"smca.model_type is '{own['model_type'][:40]}'; allowed: {', '.join(types)}")
    names = json.loads(own["class_names"])
    if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
        raise ValueError("smca.class_names is not a list of texts")
    threshold = float(own["threshold"])
    if not 0 <= threshold <= 1:
        raise ValueError(f"smca.threshold is {threshold}; allowed: 0 to 1")
    labels = dict(enumerate(names))
    config = AutoConfig.for_model(
        own["model_type"],
        **{key: value for key, value in _mapping(own, "configuration").items() if key not in ELSEWHERE},
        id2label=labels,
        label2id={name: label for label, name in labels.items()},
        threshold=threshold,
    )
    return cast(SmcaConfig, config)  # as both types are


def _precision(text: str) -> ExportPrecision:
    for known in ("fp32", "bf16", "int8"):
        if text == known:
            return known
    raise ValueError(f"smca.precision is '{text[:20]}'; allowed: fp32, bf16, int8")


def _sides(own: Mapping[str, str]) -> Sides:
    content = _mapping(own, "sides")
    multiple, smallest = int(content["multiple"]), int(content["smallest"])
    if not (1 <= multiple <= 1024 and 1 <= smallest <= 4096):
        raise ValueError(f"smca.sides is {own['sides'][:80]}; allowed: multiple to 1024, smallest to 4096")
    return Sides(multiple, smallest, bool(content["one_size"]))


def _mapping(own: Mapping[str, str], name: str) -> dict[str, Any]:
    content = json.loads(own[name])
    if not isinstance(content, dict):
        raise TypeError(f"smca.{name} is not a JSON object")
    return content
