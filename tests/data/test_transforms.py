from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DeformableDetrImageProcessor

from smca.data.transforms import Augmentation, TrainTransform, Window, cropped, fitting_size, flipped, resized, upended
from smca.errors import ConfigurationError
from smca.sizes import ImageSize

NO_LABELS = torch.zeros(0, dtype=torch.int64)
NO_BOXES = torch.zeros(0, 4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_paper_values() -> None:
    paper = Augmentation.paper()
    assert paper.short_sides == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert (paper.long_side, paper.crop_resize) == (1333, (400, 500, 600))
    assert (paper.crop_smallest, paper.crop_largest, paper.flip, paper.crop) == (384, 600, 0.5, 0.5)


def test_paper_in_proportion() -> None:
    small = Augmentation.paper(short_side=320)
    assert (small.short_sides[0], small.short_sides[-1], small.long_side) == (192, 320, 533)
    assert (small.crop_resize, small.crop_smallest, small.crop_largest) == ((160, 200, 240), 154, 240)


@pytest.mark.parametrize(
    "wrong",
    [
        {"short_sides": ()},
        {"short_sides": (0,)},
        {"long_side": 0},
        {"flip": 1.5},
        {"vertical_flip": -1},
        {"jitter": -0.1},
        {"crop": 0.5, "crop_smallest": 9, "crop_largest": 8, "crop_resize": (8,)},
        {"crop": 0.5},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"short_sides": (32,), "long_side": 64, "crop": 0.0}
    with pytest.raises(ConfigurationError):
        Augmentation(**{**plain, **wrong})


def test_flip_mirrors_boxes() -> None:
    image = torch.zeros(3, 4, 10, dtype=torch.uint8)
    image[:, 1:3, 2:5] = 255
    turned, boxes = flipped(image, torch.tensor([[2.0, 1, 5, 3]]))
    assert boxes.tolist() == [[5, 1, 8, 3]]
    assert (turned[:, 1:3, 5:8] == 255).all()


def test_upending_mirrors_boxes() -> None:
    image = torch.zeros(3, 10, 4, dtype=torch.uint8)
    image[:, 2:5, 1:3] = 255
    turned, boxes = upended(image, torch.tensor([[1.0, 2, 3, 5]]))
    assert boxes.tolist() == [[1, 5, 3, 8]]
    assert (turned[:, 5:8, 1:3] == 255).all()


def test_crop_clips_and_drops() -> None:
    image = torch.arange(100, dtype=torch.uint8).reshape(1, 10, 10).expand(3, -1, -1)
    boxes = torch.tensor([[0.0, 0, 6, 6], [0, 0, 4, 4], [5, 5, 7, 9]])
    part, inside, labels = cropped(image, boxes, torch.tensor([1, 2, 3]), Window(left=4, top=5, width=3, height=2))
    assert part[0].tolist() == [[54, 55, 56], [64, 65, 66]]
    assert inside.tolist() == [[0, 0, 2, 1], [1, 0, 3, 2]]
    assert labels.tolist() == [1, 3]


def test_resize_scales_boxes_in_both_directions() -> None:
    half = ImageSize(height=25, width=50)
    image, boxes = resized(torch.zeros(3, 50, 100, dtype=torch.uint8), torch.tensor([[10.0, 10, 20, 30]]), half)
    assert image.shape == (3, 25, 50)
    assert boxes.tolist() == [[5, 5, 10, 15]]


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 427), (20, 500), (500, 20), (64, 64), (37, 41)])
def test_training_at_a_size_sees_what_evaluation_sees(height: int, width: int) -> None:
    picture = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=seeded())
    ours, _, _ = TrainTransform(Augmentation.none(96, 160))(picture, NO_BOXES, NO_LABELS, seeded())
    processor = DeformableDetrImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    options = {"return_tensors": "pt", "input_data_format": "channels_first"}
    evaluated = processor(picture, **options)["pixel_values"]
    trained = processor(ours, do_resize=False, **options)["pixel_values"]
    assert torch.equal(trained, evaluated)


@given(height=st.integers(1, 3000), width=st.integers(1, 3000))
def test_fitting_size_respects_both_sides(height: int, width: int) -> None:
    size = fitting_size(ImageSize(height=height, width=width), 80, 133)
    assert 1 <= min(size) <= 80
    short = min(height, width)
    assert max(size) <= 133 * short / (short - 0.5) + 1  # transformers leaves a side that rounds to itself
    assert (size.height <= size.width) == (height <= width) or size.height == size.width


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=st.integers(0, 2**31),
    jitter=st.sampled_from([0.0, 0.5]),
)
def test_any_image_leaves_with_boxes_inside(height: int, width: int, seed: int, jitter: float) -> None:
    boxes = torch.tensor([[0.0, 0, width, height], [width / 2, height / 2, width, height]])
    transform = TrainTransform(Augmentation.paper(short_side=40, jitter=jitter))
    image = torch.full((3, height, width), 100, dtype=torch.uint8)
    image, out, labels = transform(image, boxes, torch.tensor([0, 1]), seeded(seed))
    assert image.dtype == torch.uint8
    assert max(image.shape[1:]) <= 2 * 67
    assert len(out) == len(labels)
    assert (out[:, 2:] > out[:, :2]).all()
    limit = torch.tensor([image.shape[2], image.shape[1]] * 2)
    assert ((out >= 0) & (out <= limit + 1e-3)).all()
    assert out[0].tolist() == pytest.approx([0, 0, *limit[:2].tolist()], abs=1e-3)


def test_objects_stay_under_their_boxes() -> None:
    transform = TrainTransform(Augmentation.paper(short_side=160))
    image = torch.zeros(3, 200, 300, dtype=torch.uint8)
    image[:, 80:120, 100:160] = 255
    for seed in range(20):
        out, boxes, _ = transform(image, torch.tensor([[100.0, 80, 160, 120]]), torch.tensor([0]), seeded(seed))
        bright = (out[0] > 127).nonzero()
        if len(boxes):
            seen = [*bright.min(0).values.flip(0).tolist(), *(bright.max(0).values.flip(0) + 1).tolist()]
            assert boxes[0].tolist() == pytest.approx(seen, abs=1.01)


def test_half_is_cropped_and_half_flipped() -> None:
    transform = TrainTransform(Augmentation.paper(short_side=160))
    image = torch.zeros(3, 100, 150, dtype=torch.uint8)
    image[:, :, :75] = 255
    whole = torch.tensor([[0.0, 0, 150, 100], [0, 0, 10, 100]])
    outs = [transform(image, whole, torch.tensor([0, 1]), seeded(seed)) for seed in range(300)]
    ratios = [out.shape[2] / out.shape[1] for out, _, _ in outs]
    uncropped = sum(abs(ratio - 1.5) < 0.01 for ratio in ratios)
    flips = sum(bool(out[0, :, 0].float().mean() < out[0, :, -1].float().mean()) for out, _, _ in outs)
    assert 110 < uncropped < 190
    assert 90 < flips < 200


def test_randomness_is_the_generator_alone() -> None:
    transform = TrainTransform(Augmentation.paper(short_side=64, jitter=0.3))
    picture = torch.randint(0, 256, (3, 60, 90), dtype=torch.uint8, generator=seeded())
    box, label = torch.tensor([[5.0, 5, 50, 50]]), torch.tensor([0])
    torch.manual_seed(1)
    first = transform(picture, box, label, seeded(3))
    torch.manual_seed(2)
    second = transform(picture, box, label, seeded(3))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other = transform(picture, box, label, seeded(4))
    assert other[0].shape != first[0].shape or not torch.equal(other[0], first[0])


def test_jitter_changes_pixels_only() -> None:
    picture = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=seeded())
    setting = Augmentation(short_sides=(32,), long_side=64, flip=0, crop=0, jitter=0.4)
    out, boxes, _ = TrainTransform(setting)(picture, torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([0]), seeded())
    assert not torch.equal(out, picture)
    assert boxes.tolist() == [[1, 2, 3, 4]]
