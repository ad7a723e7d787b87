"""Training transforms of DETR and SMCA: flips, crop, multi-scale resize, on uint8 images and boxes in pixels.

Half of the images are resized as they are: shorter side drawn from `short_sides`, longer side at most
`long_side`. The other half are cropped first, where DETR resizes to a shorter side of `crop_resize`, cuts out
`crop_smallest`..`crop_largest` pixels each way, and resizes as before. Here the same window is cut from the
original, so that the picture is resampled once.

Resizing is bilinear with antialiasing to the size transformers' image processors compute, so training at a
size sees what evaluation at that size sees. Every draw comes from the generator given: an item is a function
of it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torchvision.transforms.v2 import InterpolationMode, functional
from transformers.image_transforms import get_size_with_aspect_ratio

from smca.errors import ConfigurationError
from smca.sizes import ImageSize


@dataclass(frozen=True)
class Augmentation:
    """What training does to an image: the flips and crop are probabilities, jitter is a strength in 0..1.

    Vertical flips are for pictures without an up and a down, as through a microscope or from above.
    """

    short_sides: tuple[int, ...]
    long_side: int
    crop_resize: tuple[int, ...] = ()
    crop_smallest: int = 0
    crop_largest: int = 0
    flip: float = 0.5
    vertical_flip: float = 0.0
    crop: float = 0.5
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not self.short_sides or min(self.short_sides) < 1 or self.long_side < 1:
            raise ConfigurationError(
                f"image sides must be positive, found short {self.short_sides} and long {self.long_side}"
            )
        if self.crop and (not self.crop_resize or not 0 < self.crop_smallest <= self.crop_largest):
            raise ConfigurationError("crop needs crop_resize and 0 < crop_smallest <= crop_largest, or set crop=0")
        for name in ("flip", "vertical_flip", "crop", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"{name} must lie in 0..1, found {getattr(self, name)}")

    @classmethod
    def paper(cls, short_side: int = 800, jitter: float = 0.0) -> Augmentation:
        """The paper's values, in proportion where `short_side`, the largest shorter side, is not its 800."""

        def scaled(pixels: int) -> int:
            return max(1, round(pixels * short_side / 800))

        return cls(
            short_sides=tuple(map(scaled, range(480, 801, 32))),
            long_side=scaled(1333),
            crop_resize=tuple(map(scaled, (400, 500, 600))),
            crop_smallest=scaled(384),
            crop_largest=scaled(600),
            jitter=jitter,
        )

    @classmethod
    def none(cls, short_side: int, long_side: int) -> Augmentation:
        """Only the resizing of evaluation."""
        return cls(short_sides=(short_side,), long_side=long_side, flip=0, crop=0)


class Window(NamedTuple):
    """A rectangle of an image in pixels."""

    left: int
    top: int
    width: int
    height: int


class Plan(NamedTuple):
    """What will happen to an image's geometry, and the size it will have."""

    flip: bool
    upend: bool
    window: Window | None
    size: ImageSize


class TrainTransform:
    """Augment one image (uint8 [3, H, W]) with its boxes (float32 [n, 4] x1 y1 x2 y2, pixels) and labels
    (int64 [n]).
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self.augmentation = augmentation

    def __call__(
        self, image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes leave clipped to the new image; those a crop leaves without area are dropped with their
        labels.
        """
        plan = self.plan(ImageSize(height=image.shape[-2], width=image.shape[-1]), generator)
        if plan.flip:
            image, boxes = flipped(image, boxes)
        if plan.upend:
            image, boxes = upended(image, boxes)
        if plan.window is not None:
            image, boxes, labels = cropped(image, boxes, labels, plan.window)
        image, boxes = resized(image, boxes, plan.size)
        return self._jittered(image, generator), boxes, labels

    def plan(self, size: ImageSize, generator: torch.Generator) -> Plan:
        """The draws for an image of `size`; they need none of its pixels."""
        setting = self.augmentation
        flip, upend = _chance(setting.flip, generator), _chance(setting.vertical_flip, generator)
        window = self._window(size, generator) if _chance(setting.crop, generator) else None
        seen = size if window is None else ImageSize(height=window.height, width=window.width)
        return Plan(flip, upend, window, fitting_size(seen, _choice(setting.short_sides, generator), setting.long_side))

    def _window(self, size: ImageSize, generator: torch.Generator) -> Window:
        """DETR's random crop, in pixels of the image before its resize."""
        scale = min(size) / _choice(self.augmentation.crop_resize, generator)
        sides = []
        for length in (size.height, size.width):
            available = max(1, round(length / scale))
            smallest = min(self.augmentation.crop_smallest, available)
            side = _integer(smallest, min(self.augmentation.crop_largest, available), generator)
            sides.append(min(length, max(1, round(side * scale))))
        top = _integer(0, size.height - sides[0], generator)
        left = _integer(0, size.width - sides[1], generator)
        return Window(left=left, top=top, width=sides[1], height=sides[0])

    def _jittered(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Brightness, contrast and saturation, each times a factor in 1 - jitter .. 1 + jitter."""
        if not self.augmentation.jitter:
            return image
        for adjust in (
            functional.adjust_brightness,
            functional.adjust_contrast,
            functional.adjust_saturation,
        ):
            draw = torch.rand((), generator=generator).item()
            image = adjust(image, 1 + self.augmentation.jitter * (2 * draw - 1))
        return image


def flipped(image: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Left and right exchanged."""
    left, top, right, bottom = boxes.unbind(-1)
    width = image.shape[-1]
    return functional.horizontal_flip(image), torch.stack([width - right, top, width - left, bottom], dim=-1)


def upended(image: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Top and bottom exchanged."""
    left, top, right, bottom = boxes.unbind(-1)
    height = image.shape[-2]
    return functional.vertical_flip(image), torch.stack([left, height - bottom, right, height - top], dim=-1)


def cropped(
    image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, window: Window
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The window alone, with what of the boxes lies in it."""
    image = functional.crop(image, window.top, window.left, window.height, window.width)
    moved = boxes - boxes.new_tensor([window.left, window.top] * 2)
    inside = moved.clamp(min=0).minimum(moved.new_tensor([window.width, window.height] * 2))
    kept = (inside[:, 2:] > inside[:, :2]).all(dim=-1)
    return image, inside[kept], labels[kept]


def resized(image: torch.Tensor, boxes: torch.Tensor, size: ImageSize) -> tuple[torch.Tensor, torch.Tensor]:
    """Brought to `size`."""
    height, width = image.shape[-2:]
    image = functional.resize(image, list(size), interpolation=InterpolationMode.BILINEAR, antialias=True)
    return image, boxes * boxes.new_tensor([size.width / width, size.height / height] * 2)


def fitting_size(size: ImageSize, short_side: int, long_side: int) -> ImageSize:
    """The rule of transformers' image processors, and at least one pixel each way."""
    height, width = get_size_with_aspect_ratio((size.height, size.width), short_side, long_side)
    return ImageSize(height=max(1, height), width=max(1, width))


def _chance(probability: float, generator: torch.Generator) -> bool:
    return torch.rand((), generator=generator).item() < probability


def _choice(values: tuple[int, ...], generator: torch.Generator) -> int:
    return values[_integer(0, len(values) - 1, generator)]


def _integer(low: int, high: int, generator: torch.Generator) -> int:
    """Uniform, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator).item())
