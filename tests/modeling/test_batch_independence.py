"""An image's prediction does not depend on its batch: alone equals in a padded batch, to 1e-4 in float32.

Weights are stirred so that nothing is zero by chance, padding holds values that would be seen at once. Float64 is the
sharper test: deep networks with random weights blow float32's rounding up, and a small leak could hide in it.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.padding import PaddingGuard
from smca.training.recipe import Recipe
from smca.training.recipes import all_recipes
from tests.modeling.independence import COMPANY, SIZES, assert_alone_equals_batch, seen
from tests.modeling.tiny import SMALL, padded_batch, picture, small_model, stirred_model

OWN = [(70, 101), (96, 64), (20, 130)]

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "plain, layer norm": {"backbone_norm": "layer"},
    "plain, batch norm": {"backbone_norm": "batch"},
    "plain, frozen norm": {"backbone_norm": "frozen"},
    "one coarse level": {"levels": ("c6",)},
    "all levels": {"levels": ("c3", "c4", "c5", "c6")},
    "fine levels": {"levels": ("c3", "c4")},
    "unshared encoder": {"shared_attention": False, "shared_ffn": False},
    "pre-norm": {"pre_norm": True},
    "re-centred": {"recentre": True, "decoder_layers": 3},
    "depthwise encoder": {"encoder": ("depthwise", "depthwise")},
    "released multi-scale": {
        "levels": ("c3", "c4", "c5", "c6"),
        "encoder": ("depthwise", "multi", "depthwise"),
        "halve_finest": True,
    },
    "product spread": {"spread": "product", "spread_form": "inverse-width", "cell_position": "integer"},
    "no modulation": {"modulation": "none"},
    "DETR": {"modulation": "none", "box_prior": False, "levels": ("c5",), "encoder": ("intra",)},
    "resnet18": {"backbone": "resnet18", "backbone_norm": "frozen"},
    "resnet18, batch norm": {"backbone": "resnet18", "backbone_norm": "batch"},
    "resnet50 DC5": {"backbone": "resnet50", "backbone_norm": "frozen", "dilation": True, "levels": ("c5", "c6")},
    "resnet18d": {"backbone": "timm/resnet18d", "backbone_norm": "frozen"},
    "SAME padding": {"backbone": "timm/tf_efficientnet_lite0", "backbone_norm": "frozen"},
    "patches": {"backbone": "timm/convnext_atto", "backbone_norm": "frozen"},
    "squeeze-and-excite": {"backbone": "timm/regnety_002", "backbone_norm": "frozen"},
    "squeeze-and-excite, SAME": {"backbone": "timm/tf_mobilenetv3_small_075", "backbone_norm": "frozen"},
    "maximum of negative values": {"backbone": "timm/resnetv2_50", "backbone_norm": "frozen"},
    "maximum behind explicit zeros": {"backbone": "timm/hgnetv2_b0", "backbone_norm": "frozen"},
    "linear attention": {"backbone": "timm/efficientvit_b0", "backbone_norm": "frozen"},
}


def switches(recipe: Recipe) -> dict[str, Any]:
    """What a recipe's model is, but for how large and how deep."""
    return {**recipe.model, **{name: SMALL[name] for name in SMALL if name not in ("backbone_norm", "encoder")}}


DIFFERENT = {repr(switches(recipe)): recipe for recipe in all_recipes()}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_alone_equals_in_batch(name: str) -> None:
    """In float32 as `smca.load` makes it for every prediction: norms folded, blocks fused, channels last."""
    loaded = small_model(**CONFIGURATIONS[name])
    loaded.prepare_for_inference()
    assert_alone_equals_batch(loaded, OWN)
    assert_alone_equals_batch(stirred_model(**CONFIGURATIONS[name]).double(), OWN, torch.float64)


@pytest.mark.parametrize("recipe", DIFFERENT.values(), ids=[recipe.name for recipe in DIFFERENT.values()])
def test_every_recipe_sees_an_image_alone(recipe: Recipe) -> None:
    """Its switches at small sizes."""
    assert_alone_equals_batch(small_model(**switches(recipe)), [OWN[0], (1, 130), OWN[0]])


def test_without_its_guard_padding_would_be_seen() -> None:
    """What the tests above would catch."""
    model = stirred_model(backbone="resnet18", backbone_norm="frozen")
    model.backbone.guard = PaddingGuard([])
    for module in model.backbone.modules():
        module._forward_pre_hooks.clear()
        module._forward_hooks.clear()
    with pytest.raises(AssertionError):
        assert_alone_equals_batch(model, OWN)


@pytest.fixture(scope="module")
def plain() -> SmcaForObjectDetection:
    return stirred_model(levels=("c3", "c4", "c5", "c6"), backbone_norm="frozen")


@settings(deadline=None, max_examples=25)
@given(sizes=COMPANY)
def test_alone_equals_in_batch_whatever_the_sizes(plain: SmcaForObjectDetection, sizes: list[tuple[int, int]]) -> None:
    assert_alone_equals_batch(plain, sizes)


@pytest.fixture(scope="module")
def same_padding() -> SmcaForObjectDetection:
    return stirred_model(**CONFIGURATIONS["SAME padding"]).double()  # deep: float32 would be 1.2e-4 off at times


@settings(deadline=None, max_examples=5)
@given(sizes=st.lists(SIZES, min_size=2, max_size=2))
def test_same_padding_is_independent_whatever_the_sizes(
    same_padding: SmcaForObjectDetection, sizes: list[tuple[int, int]]
) -> None:
    assert_alone_equals_batch(same_padding, sizes, torch.float64)


def test_the_order_of_images_does_not_matter(plain: SmcaForObjectDetection) -> None:
    pictures = [picture(*size) for size in OWN]
    forwards, backwards = seen(plain, *padded_batch(pictures)), seen(plain, *padded_batch(pictures[::-1]))
    torch.testing.assert_close(forwards, backwards.flip(0), rtol=0, atol=1e-4)


def test_an_image_reaches_no_other_image(plain: SmcaForObjectDetection) -> None:
    pixels, mask = padded_batch([picture(*size) for size in OWN])
    pixels.requires_grad_()
    plain(pixels, mask).logits[0].sum().backward()
    assert pixels.grad is not None
    inside = mask[0].bool()
    assert pixels.grad[1:].abs().max() == 0
    assert pixels.grad[0][:, ~inside].abs().max() == 0
    assert pixels.grad[0][:, inside].abs().max() > 0


def test_a_mask_of_ones_is_as_good_as_none(plain: SmcaForObjectDetection) -> None:
    pixels = torch.stack([picture(70, 101), picture(70, 101, seed=1)])
    assert torch.equal(seen(plain, pixels), seen(plain, pixels, torch.ones(2, 70, 101, dtype=torch.long)))
