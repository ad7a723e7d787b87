"""Where weights come from: ImageNet's for a backbone, a file of a backbone, a MODEL to start from.

Nothing is fetched unless "imagenet" was asked for; what cannot be had is a WeightsError that names the other choices.
A file may be safetensors or a PyTorch state dict (interchange/checkpoint.py). EfficientNet-Lite0's names of its
original network are translated to timm's.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import build_opener

import timm
import torch
import torchvision
from huggingface_hub import constants as hub
from torch import Tensor
from transformers import PreTrainedModel

from smca.errors import WeightsError
from smca.interchange.checkpoint import read_checkpoint
from smca.modeling.backbone import RESNETS, Backbone
from smca.training.beginning import initial_model
from smca.training.detector import Detector

OTHERS = "use --backbone-weights none (random) or --backbone-weights PATH (a .safetensors or .pth file)"
QUERIES = "decoder.query_position.weight"
MEMBERS = ("weight", "bias", "running_mean", "running_var")
PATIENCE = 15.0  # seconds to wait for a server


def load_backbone(backbone: Backbone, name: str, source: str) -> str:
    """Fill the backbone from `source` ("none", "imagenet" or a path) and say what was done."""
    if source == "none":
        return "backbone: random weights"
    weights = _imagenet(name) if source == "imagenet" else _tensors_in(Path(source))
    wanted = {
        key: value for key, value in backbone.body.state_dict().items() if not key.endswith("num_batches_tracked")
    }
    found = {key: value for key, value in _translated(weights, name).items() if key in wanted}
    fitting = {key: value for key, value in found.items() if value.shape == wanted[key].shape}
    lacking = sorted(set(wanted) - set(fitting))
    if lacking:
        raise WeightsError(
            f"{source} does not fit backbone '{name}': {len(lacking)} of {len(wanted)} tensors are missing or of "
            f"another shape, first {lacking[0]}; {OTHERS}"
        )
    backbone.body.load_state_dict(fitting, strict=False)
    return f"backbone: {len(fitting)} tensors from {source}"


def _imagenet(name: str) -> dict[str, Tensor]:
    try:
        with _impatient():
            if name in RESNETS:
                return torchvision.models.get_model(name, weights="DEFAULT").state_dict()
            if name.startswith("timm/"):
                return _of_the_hub(name.removeprefix("timm/"))
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(f"ImageNet weights for '{name}' cannot be had ({reason}); {OTHERS}") from error
    raise WeightsError(f"there are no ImageNet weights for backbone '{name}'; {OTHERS}")


@contextmanager
def _impatient() -> Iterator[None]:
    """Where there is no network, say so soon."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _of_the_hub(name: str) -> dict[str, Tensor]:
    """Timm's weights; from what was fetched before where the hub is out of reach, without its minute of retries."""
    offline = hub.HF_HUB_OFFLINE
    try:
        hub.HF_HUB_OFFLINE = offline or not _reachable(hub.ENDPOINT)
        return timm.create_model(name, pretrained=True, features_only=True).state_dict()
    finally:
        hub.HF_HUB_OFFLINE = offline


def _reachable(address: str) -> bool:
    try:
        with build_opener().open(address, timeout=PATIENCE):
            return True
    except OSError:
        return False


def _tensors_in(path: Path) -> dict[str, Tensor]:
    try:
        return read_checkpoint(path).tensors
    except WeightsError as error:
        raise WeightsError(f"{error}; {OTHERS}") from error


def _translated(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    if not name.startswith("timm/") or not any(key.startswith("_blocks.") for key in weights):
        return weights
    network = timm.create_model(name.removeprefix("timm/"))
    places = [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]
    body = [key for key in places if key.startswith(("conv_stem", "bn1", "blocks"))]
    source = sorted((key for key in weights if not key.startswith(("_conv_head", "_bn1", "_fc"))), key=_network_order)
    source = [key for key in source if key.endswith(MEMBERS)]
    return {place: weights[key] for place, key in zip(body, source, strict=False)}


def _network_order(key: str) -> tuple[int, int, int]:
    """Position of a tensor of the original EfficientNet in execution order, as timm lists its own."""
    parts = ("conv_stem", "expand_conv", "bn0", "depthwise_conv", "bn1", "project_conv", "bn2")
    block = re.match(r"_blocks\.(\d+)\.", key)
    part = next((i for i, p in enumerate(parts) if f"_{p}." in key), 0)
    return (
        int(block[1]) if block else -1,
        part,
        MEMBERS.index(key.rpartition(".")[2]) if key.endswith(MEMBERS) else 9,
    )


def start_from(model: Detector, source: str) -> list[str]:
    """Fill `model` from a MODEL: what fits is kept, class rows go by name; lines say what was kept and what is new."""
    other = initial_model(source)
    old, new = other.state_dict(), model.state_dict()
    kept = {key: value for key, value in old.items() if key in new and value.shape == new[key].shape}
    fresh = sorted(set(new) - set(kept))
    if not kept:
        raise WeightsError(f"{source} shares no weights with this recipe: it is a {type(other).__name__}")
    lines = [f"kept {len(kept)} of {len(new)} tensors of {source}"]
    shared = _class_rows(model, other)
    for part in ("class_head.weight", "class_head.bias"):
        if part in old and old[part].shape[1:] == new[part].shape[1:]:
            kept[part] = new[part].clone()
            for label, before in shared.items():
                kept[part][label] = old[part][before]
        else:
            shared = {}
    queries = _query_rows(old, new)
    model.load_state_dict({**kept, **queries}, strict=False)
    names = _class_names(model)
    lines.append(f"classes kept: {', '.join(names[i] for i in shared) or 'none'}")
    lines.append(f"classes new: {', '.join(n for i, n in names.items() if i not in shared) or 'none'}")
    lines += [f"queries kept: {min(len(old[key]), len(new[key]))} of {len(new[key])}" for key in queries]
    others = [key for key in fresh if not key.startswith("class_head") and key not in queries]
    return [*lines, f"new tensors: {', '.join(others)}"] if others else lines


def _query_rows(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where only the number of queries, or of their groups, is another: the old ones, as many as there is room for."""
    if QUERIES not in old or QUERIES not in new or old[QUERIES].shape[1] != new[QUERIES].shape[1]:
        return {}
    rows = old[QUERIES][: len(new[QUERIES])]
    return {QUERIES: torch.cat([rows, new[QUERIES][len(rows) :]])} if len(old[QUERIES]) != len(new[QUERIES]) else {}


def _class_rows(model: PreTrainedModel, other: PreTrainedModel) -> dict[int, int]:
    """Label of each class that both know -> its label there."""
    before = {name: label for label, name in _class_names(other).items()}
    return {label: before[name] for label, name in _class_names(model).items() if name in before}


def _class_names(model: PreTrainedModel) -> dict[int, str]:
    """The name of every label that the model's configuration knows."""
    return {int(label): name for label, name in (model.config.id2label or {}).items()}


def freeze(model: torch.nn.Module, parts: tuple[str, ...]) -> None:
    """Stop training the named parts: a module or parameter name, or the beginning of one."""
    names = [name for name, _ in model.named_parameters()]
    for part in parts:
        found = [p for name, p in model.named_parameters() if name == part or name.startswith(f"{part}.")]
        if not found:
            heads = sorted({name.partition(".")[0] for name in names})
            raise WeightsError(
                f"--freeze {part}: the model has no such part; it has {', '.join(heads)} and what is in them"
            )
        for parameter in found:
            parameter.requires_grad_(False)
