"""A model folder of a stranger: its JSON is checked before anything is built, its weights are safetensors.

Only our own switches are read from config.json. What transformers would follow further is not: `auto_map` (code in the
folder), `attn_implementation` and quantisers (code of a hub), other files. Raises ModelError, one line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from smca.comparison.peers.configuration import PeerConfig
from smca.errors import DataError, ModelError
from smca.files import read_json
from smca.inference.preprocessing import processor_from
from smca.modeling.configuration import LIMIT, SmcaConfig
from smca.modeling.image_processing import SmcaImageProcessor

PARTS = ("config.json", "model.safetensors", "preprocessor_config.json")
TYPES: dict[str, type[SmcaConfig]] = {kind.model_type: kind for kind in (SmcaConfig, PeerConfig)}


def complete_folder(folder: str | Path) -> Path:
    """The path of a folder that has all parts."""
    path = Path(folder)
    if not path.is_dir():
        raise ModelError(f"no model folder at {path}; allowed: a folder with {', '.join(PARTS)}, or an exported file")
    missing = [part for part in PARTS if not (path / part).is_file()]
    if missing:
        raise ModelError(f"{path} is not a model folder: it has no {' and no '.join(missing)}")
    return path


def read_config(folder: Path) -> SmcaConfig:
    """The configuration in a folder, of SMCA or a peer."""
    content = _json(folder / PARTS[0])
    if not isinstance(content, dict):
        raise ModelError(f"{folder / PARTS[0]} is not a JSON object")
    kind = TYPES.get(str(content.get("model_type")))
    if kind is None:
        found = str(content.get("model_type"))[:40]
        raise ModelError(f"{folder} holds a model of type '{found}'; allowed: {', '.join(TYPES)}")
    known = set(kind.__dataclass_fields__) - set(PreTrainedConfig.__dataclass_fields__)
    try:
        return kind(**{name: content[name] for name in known if name in content}, **_labels(content))
    except Exception as error:
        raise ModelError(f"{folder / PARTS[0]} cannot be used: {_one_line(error)}") from error


def read_processor(folder: Path) -> SmcaImageProcessor:
    """The image processor in a folder."""
    content = _json(folder / PARTS[2])
    try:
        return processor_from(content)
    except Exception as error:
        raise ModelError(f"{folder / PARTS[2]} cannot be used: {_one_line(error)}") from error


def _labels(content: Mapping[str, Any]) -> dict[str, Any]:
    """The class names, one for each number from 0."""
    names = content.get("id2label")
    if names is None:
        return {"num_labels": content["num_labels"]} if "num_labels" in content else {}
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise ValueError("id2label must be texts by number")
    if len(names) > LIMIT:
        raise ValueError(f"id2label has {len(names)} classes; allowed: up to {LIMIT}")
    labels = {int(label): name for label, name in names.items()}
    if sorted(labels) != list(range(len(names))):
        raise ValueError(f"id2label must have the numbers 0 to {len(names) - 1}, each once")
    return {"id2label": labels, "label2id": {name: label for label, name in labels.items()}}


def _json(file: Path) -> Any:
    try:
        return read_json(file)
    except DataError as error:
        raise ModelError(str(error)) from error


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
