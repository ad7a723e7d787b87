"""What a model keeps in memory for one image, counted in float32 on tensors without content.

For the backward pass: every tensor that autograd saves in a training step, by part of the model, each storage once and
whole; weights and constants are not counted, nor the loss. For inference: the most bytes of tensors alive at once.

Attention is counted as its fused kernels keep it: queries, keys, values, output and one number a query, never the
[queries, keys] scores. `fused=False` counts what attention in single steps keeps instead: scores, probabilities and
their dropout, as a CPU does where attention_dropout is above 0. Masks of dropout count 4 bytes a number, as on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class FusedAttention(TorchFunctionMode):
    """Attention through the CPU's fused kernel; torch would take single steps for tensors without content."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **options)
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return fused(*args[:3], dropout_p=options.get("dropout_p", 0.0), scale=options.get("scale"))[0]


class Alive(TorchDispatchMode):
    """Follows the storages of results; `most` bytes of them, and of `pixels`, were alive at once."""

    def __init__(self, ignored: set[int], pixels: Tensor) -> None:
        super().__init__()
        self.ignored = ignored
        self.sizes: dict[StorageWeakRef, int] = {}
        self.most = 0
        self._follow(pixels)

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.ignored:
            self.sizes[StorageWeakRef(storage)] = storage.nbytes()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._follow(tensor)
        self.sizes = {storage: size for storage, size in self.sizes.items() if not storage.expired()}
        self.most = max(self.most, sum(self.sizes.values()))
        return result


def kept_for_backward(model: nn.Module, pixels: Tensor, parts: Sequence[str], fused: bool = True) -> dict[str, int]:
    """Bytes that a training step of `model` on `pixels` keeps, by part; what lies between two belongs to the first."""
    kept = dict.fromkeys(parts, 0)
    counted = _constants(model) | {pixels.untyped_storage()._cdata}
    entered = [parts[0]]
    held: list[Tensor] = []  # else another storage could take a counted one's place

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in counted:
            counted.add(storage._cdata)
            held.append(tensor)
            kept[entered[-1]] += storage.nbytes()
        return tensor

    with ExitStack() as stack:
        for part in parts:
            enter = model.get_submodule(part).register_forward_pre_hook(lambda *_, part=part: entered.append(part))
            stack.callback(enter.remove)
        if fused:
            stack.enter_context(FusedAttention())
        stack.enter_context(saved_tensors_hooks(keep, lambda tensor: tensor))
        model.train()(pixels)
    return kept


def most_at_inference(model: nn.Module, pixels: Tensor) -> int:
    """The most bytes alive at once while `model` looks at `pixels`, beside its weights."""
    with torch.inference_mode(), FusedAttention(), Alive(_constants(model), pixels) as alive:
        model.eval()(pixels)
    return alive.most


def _constants(model: nn.Module) -> set[int]:
    """Storages of weights and buffers."""
    return {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
