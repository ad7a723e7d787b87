"""Where numbers stop being finite: an update's forward and backward pass again, with every module and gradient watched.

Of a loss that is not finite the cause is the first tensor in the forward pass that is not; of a finite one, the first
gradient in the backward pass. A batch that was broken before is named before either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Find(NamedTuple):
    """The first tensor that is not finite: what it is, the module it belongs to ("": none), and its numbers."""

    tensor: str
    module: str
    numbers: str

    def __str__(self) -> str:
        return f"{self.tensor}{f' of {self.module}' if self.module else ''} has {self.numbers}"


def bad_weight(model: nn.Module) -> Find | None:
    """The first parameter or buffer that is not finite."""
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        module, _, own = name.rpartition(".")
        if find := _find(own, module, value):
            return find
    return None


def first_bad(model: nn.Module, batch: Mapping[str, Any], step: Callable[[], Tensor]) -> Find | None:
    """What broke first when `step` looks at `batch` forward and backward and returns the loss []; None: nothing."""
    broken = next((find for find in _in_batch(batch) if find), None)
    with torch.compiler.set_stance("force_eager"), Watch(model) as watch:
        loss = step()
    if broken:
        return broken
    of_loss = _find("the loss", "", loss)
    return (watch.output or of_loss) if of_loss else watch.gradient


class Watch:
    """Notes the first output and the first gradient that are not finite, in the order they are computed."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.output: Find | None = None
        self.gradient: Find | None = None
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Watch:
        for name, module in self.model.named_modules():
            self._handles.append(module.register_forward_hook(partial(self._left, name or type(module).__name__)))
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                module, _, own = name.rpartition(".")
                self._handles.append(parameter.register_hook(partial(self._came_back, f"gradient of {own}", module)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _left(self, name: str, _: nn.Module, __: Any, output: Any) -> None:
        for tensor in tensors_in(output):
            self.output = self.output or _find("output", name, tensor)
            if tensor.requires_grad:
                tensor.register_hook(partial(self._came_back, "gradient of the output", name))

    def _came_back(self, tensor: str, module: str, gradient: Tensor) -> None:
        self.gradient = self.gradient or _find(tensor, module, gradient)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of an output: it itself, or those in its lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from tensors_in(part)


def _in_batch(batch: Mapping[str, Any]) -> Iterator[Find | None]:
    yield _find("pixels", "the batch", batch["pixel_values"])
    for label in batch["labels"]:
        yield _find("boxes", "the batch", label["boxes"])


def _find(tensor: str, module: str, values: Tensor) -> Find | None:
    if not values.is_floating_point() or bool(values.isfinite().all()):
        return None
    counts = {"NaN": int(values.isnan().sum()), "infinity": int(values.isinf().sum())}
    said = " and ".join(f"{count} {name}" for name, count in counts.items() if count)
    return Find(tensor, module, f"{said} in {values.numel()} numbers")
