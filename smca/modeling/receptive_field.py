"""Where the cells of a feature map are centred in the image, from the layers on the way to it.

A layer of kernel k, stride s and p cells of padding on the near side centres its output cell 0 at (k - 1) / 2 - p
input cells, so the offsets of all strided layers add up, each times the stride before it. Pixel i covers [i, i + 1),
hence the final one half. ResNets: .5 px at every level; TensorFlow's 'SAME' padding: s - .5 px; patches: s / 2 px.
A test measures the same with gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from timm.layers import BlurPool2d, Conv2dSame
from torch import Tensor, nn

PROBE = 256
_SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, BlurPool2d)


@dataclass(frozen=True)
class SpatialLayer:
    """A layer with a kernel above 1x1, and the strides of its input and output in pixels."""

    module: nn.Module
    before: int
    after: int


def kernel_of(module: nn.Module) -> int:
    """Extent of a spatial module's kernel; 1 for everything else."""
    if isinstance(module, BlurPool2d):
        return module.filt_size
    return _largest(getattr(module, "kernel_size", 1)) if isinstance(module, _SPATIAL) else 1


class Probe(NamedTuple):
    """Layers with a kernel above 1x1 in the order in which they run, and the shapes [C, H, W] of the maps returned."""

    layers: list[SpatialLayer]
    shapes: list[tuple[int, ...]]


def probe(network: nn.Module) -> Probe:
    """Run an image of PROBE x PROBE pixels, without content and at no cost, through a network."""
    layers: list[SpatialLayer] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        layers.append(SpatialLayer(module, _stride(inputs[0]), _stride(output)))

    hooks = [m.register_forward_hook(record) for m in network.modules() if kernel_of(m) > 1]
    maps = run_without_content(network)
    for hook in hooks:
        hook.remove()
    return Probe(layers, [tuple(m.shape[1:]) for m in maps])


def run_without_content(network: nn.Module) -> list[Tensor]:
    """The maps, on the meta device, that a network makes of PROBE x PROBE pixels in evaluation."""
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    meta = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    training = network.training
    with torch.no_grad():
        pixels = torch.empty(1, 3, PROBE, PROBE, device="meta")
        maps = torch.func.functional_call(network.eval(), meta, (pixels,))
    network.train(training)
    return list(maps.values() if isinstance(maps, dict) else maps)


def _stride(features: Tensor) -> int:
    """Pixels from cell to cell; a map may be a cell or two larger than its share of the image where a network pads."""
    return round(PROBE / features.shape[-1])


def first_centre(layers: list[SpatialLayer], stride: int) -> float:
    """Centre of cell 0 of the map at `stride`, in pixels from the image's edge."""
    centre = 0.5
    for before in {layer.before for layer in layers if layer.after > layer.before and layer.before < stride}:
        crossing = [layer for layer in layers if layer.before == before < layer.after]
        centre += before * shift(max(crossing, key=lambda layer: kernel_of(layer.module)))
    return centre


def shift(layer: SpatialLayer) -> float:
    """Position of output cell 0 on the layer's input cells."""
    kernel = kernel_of(layer.module)
    if isinstance(layer.module, Conv2dSame):
        return (kernel - 1) / 2 - max(kernel - layer.after // layer.before, 0) // 2
    padding = getattr(layer.module, "padding", 0)
    return (kernel - 1) / 2 - (_largest(padding) if isinstance(padding, (int, tuple)) else kernel // 2)


def _largest(value: int | tuple[int, ...]) -> int:
    return max(value) if isinstance(value, tuple) else int(value)
