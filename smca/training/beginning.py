"""The model that `--init` names: a MODEL, a checkpoint file (the authors' or DETR's), a DETR of transformers, or one of
these folders on Hugging Face's hub.

The hub is asked only for what looks like ORGANISATION/NAME and is no folder here. Raises WeightsError naming what was
found and what is allowed.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers import PreTrainedModel

from smca.errors import WeightsError
from smca.files import read_json
from smca.inference.loading import load
from smca.inference.model_folder import PARTS
from smca.interchange.checkpoint import Checkpoint, read_checkpoint
from smca.interchange.convert import converted

ON_A_HUB = re.compile(r"[\w.-]+/[\w.-]+")


def initial_model(source: str) -> PreTrainedModel:
    """Its model, on the CPU."""
    if Path(source).is_file():
        return converted(read_checkpoint(Path(source))).model
    here = Path(source).exists() or not ON_A_HUB.fullmatch(source)
    folder = Path(source if here else _fetched(source))
    return _detr(folder) or load(folder, "cpu")


def _detr(folder: Path) -> PreTrainedModel | None:
    """The warm start in a folder of transformers' DETR; None for other folders."""
    parts = [folder / part for part in PARTS[:2]]
    settings = read_json(parts[0]) if all(part.is_file() for part in parts) else {}
    if settings.get("model_type") != "detr":
        return None
    arguments = {"nheads": settings.get("encoder_attention_heads", 8), "dilation": settings.get("dilation", False)}
    return converted(Checkpoint(read_checkpoint(parts[1]).tensors, arguments)).model


def _fetched(name: str) -> str:
    try:
        return snapshot_download(name, allow_patterns=list(PARTS))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(
            f"no model at {name}, neither a folder or file here nor on the hub ({reason}); "
            f"allowed: a folder with {', '.join(PARTS)}, a .pth or .safetensors checkpoint, or ORGANISATION/NAME"
        ) from error
