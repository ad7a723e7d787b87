"""The facade: sizes of the paper's models, named intermediates, losses, saved models, reduced precision, and what
transformers expects of a model: states, attentions, their implementations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForObjectDetection

from smca.errors import DataError
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from tests.modeling.tiny import padded_batch, picture, small_model, stirred_model

SINGLE_SCALE: dict[str, Any] = {"levels": ("c5",), "encoder": ("intra",) * 6, "ffn_dim": 2048}


@pytest.mark.parametrize(
    ("switches", "trainable", "total"),
    [
        ({}, 39.53, None),
        ({**SINGLE_SCALE, "num_labels": 92}, 41.54, 41.76),
        ({"backbone": "resnet101"}, None, 58.69),
    ],
    ids=["multi-scale R50", "single-scale R50, 91+1 classes", "multi-scale R101"],
)
def test_parameters_of_the_paper(switches: dict[str, Any], trainable: float | None, total: float | None) -> None:
    with torch.device("meta"):
        model = SmcaForObjectDetection(SmcaConfig(**switches))
    counts = [(p.numel() / 1e6, p.requires_grad) for p in model.parameters()]
    if trainable is not None:
        assert sum(n for n, trains in counts if trains) == pytest.approx(trainable, abs=0.005)
    if total is not None:
        assert sum(n for n, _ in counts) == pytest.approx(total, abs=0.005)


LEVEL_SHAPES = {"c3": (9, 13), "c4": (5, 7), "c5": (3, 4), "c6": (2, 2)}


@pytest.mark.parametrize(
    ("switches", "heads"),
    [({}, 2), ({"modulation": "head-shared"}, 1), ({"modulation": "none"}, None), ({"levels": ("c5",)}, 2)],
    ids=str,
)
def test_intermediates_have_the_documented_shapes(switches: dict[str, Any], heads: int | None) -> None:
    chosen: dict[str, Any] = {"levels": ("c3", "c4", "c5", "c6"), **switches}
    model = stirred_model(**chosen)
    levels = model.config.levels
    with torch.no_grad():
        seen = model(*padded_batch([picture(70, 101), picture(50, 60)]), intermediates=True).intermediates
    assert seen is not None
    assert tuple(level.name for level in seen.levels) == levels
    assert seen.all_logits.shape == (2, 2, 6, 3)
    assert seen.all_boxes.shape == (2, 2, 6, 4)
    assert seen.centres is not None
    assert seen.centres.shape == (2, 2, 6, 2)
    assert [tuple(one.shape) for one in seen.co_attention] == [(2, 2, 6, 2, *LEVEL_SHAPES[name]) for name in levels]
    wanted = [] if heads is None else [(2, 2, 6, heads, *LEVEL_SHAPES[name]) for name in levels]
    assert [tuple(one.shape) for one in seen.weight_maps] == wanted
    assert [tuple(one.shape) for one in seen.head_centres] == [(2, 2, 6, heads, 2) for _ in wanted]
    assert [tuple(one.shape) for one in seen.sigmas] == [(2, 2, 6, heads, 2) for _ in wanted]
    assert seen.products == []
    assert len(seen.plain_attention) == len(wanted)
    assert (seen.scale_weights is None) == (len(levels) == 1)
    for attention in seen.co_attention + seen.plain_attention:
        torch.testing.assert_close(attention.sum(dim=(-1, -2)), torch.ones(2, 2, 6, 2))
        assert (attention >= 0).all()
    assert all(((one >= 0) & (one <= 1)).all() for one in seen.weight_maps)
    if seen.scale_weights is not None:
        torch.testing.assert_close(seen.scale_weights.sum(dim=-1), torch.ones(2, 2, 6))


RELEASED: dict[str, Any] = {
    "levels": ("c3", "c4", "c5", "c6"),
    "encoder": ("depthwise",),
    "halve_finest": True,
    "spread": "product",
    "spread_form": "inverse-width",
    "cell_position": "integer",
    "level_factors": (0.5, 0.5, 1.0, 2.0),
}


@pytest.mark.parametrize(
    "switches",
    [{}, {"modulation": "head-shared", "spread": "single"}, {"spread": "fixed", "bandwidth": 2.0}, RELEASED],
    ids=["multi-head", "head-shared", "fixed", "released"],
)
def test_centres_and_sigmas_draw_the_weight_maps(switches: dict[str, Any]) -> None:
    """G written out from the intermediates alone, at the cells' centres (i + offset), equals G."""
    model = stirred_model(**switches)
    with torch.no_grad():
        seen = model(*padded_batch([picture(70, 101), picture(50, 60)]), intermediates=True).intermediates
    assert seen is not None
    assert len(seen.products) == (len(seen.levels) if "product" in switches.values() else 0)
    for index, (geometry, g) in enumerate(zip(seen.levels, seen.weight_maps, strict=True)):
        rows, columns = g.shape[-2:]
        centre, sigma = (x[index][..., None, None, :] for x in (seen.head_centres, seen.sigmas))
        dx = (torch.arange(columns) + geometry.offset - centre[..., 0]) ** 2
        dy = (torch.arange(rows)[:, None] + geometry.offset - centre[..., 1]) ** 2
        exponent = dx / (2 * sigma[..., 0] ** 2) + dy / (2 * sigma[..., 1] ** 2)
        if seen.products:
            exponent = exponent + dx * dy * seen.products[index][..., None, None]
        torch.testing.assert_close((-exponent).exp(), g, rtol=1e-3, atol=1e-5)


def test_geometry_is_that_of_the_levels_the_decoder_read() -> None:
    """The released model halves its finest level: c3 comes at stride 16."""
    with torch.no_grad():
        seen = stirred_model(**RELEASED)(picture(128, 192)[None], intermediates=True).intermediates
    assert seen is not None
    assert [(level.name, level.stride) for level in seen.levels] == [("c3", 16), ("c4", 16), ("c5", 32), ("c6", 64)]
    assert [one.shape[-2:] for one in seen.plain_attention] == [(8, 12), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("switches", [{}, RELEASED], ids=["paper", "released"])
def test_asking_for_intermediates_does_not_change_the_prediction(switches: dict[str, Any]) -> None:
    model = stirred_model(**switches)
    pixels, mask = padded_batch([picture(70, 101), picture(50, 60)])
    with torch.no_grad():
        plain, asked = model(pixels, mask), model(pixels, mask, intermediates=True)
    assert plain.intermediates is None
    torch.testing.assert_close(plain.logits, asked.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(plain.pred_boxes, asked.pred_boxes, rtol=0, atol=1e-5)


def labels(*counts: int) -> list[dict[str, torch.Tensor]]:
    return [{"class_labels": torch.arange(n) % 3, "boxes": torch.rand(n, 4) * 0.4 + 0.2} for n in counts]


def test_loss_needs_labels_that_fit() -> None:
    model = small_model()
    pixels = picture(64, 64)[None]
    assert model(pixels).loss is None
    with pytest.raises(DataError):
        model(pixels, labels=labels(7))
    with pytest.raises(DataError):
        model(pixels, labels=labels(1, 1))


def test_a_model_learns_one_picture() -> None:
    """The loss falls far and every part gets a gradient, but for values of the first targets, which are all zero."""
    model = small_model(d_model=32, ffn_dim=32).train()
    pixels, wanted = picture(64, 96)[None], labels(2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        output = model(pixels, labels=wanted)
        output.loss.backward()
        optimiser.step()
        losses.append(output.loss.item())
    assert losses[-1] < 0.3 * losses[0]
    idle = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or p.grad.abs().max() == 0)]
    assert idle == ["decoder.layers.0.self_attention.value.weight"]


def test_groups_of_queries_learn_apart_and_the_first_predicts() -> None:
    model = stirred_model(query_groups=3)
    pixels, mask = padded_batch([picture(70, 90), picture(50, 60)])
    with torch.no_grad():
        expected = model(pixels, mask)
        assert expected.logits.shape[1] == model.config.num_queries
        model.decoder.query_position.weight[model.config.num_queries :] += 1
        learning = model.train()(pixels, mask, labels(1, 2))
    torch.testing.assert_close(learning.logits, expected.logits)
    torch.testing.assert_close(learning.pred_boxes, expected.pred_boxes)
    loss = model(pixels, mask, labels(1, 2)).loss
    (slope,) = torch.autograd.grad(loss, model.decoder.query_position.weight)
    assert slope.abs().sum(dim=1).all()


def test_a_saved_model_predicts_the_same(tmp_path: Path) -> None:
    model = stirred_model(id2label={0: "a", 1: "b", 2: "c"})
    model.save_pretrained(tmp_path)
    loaded = SmcaForObjectDetection.from_pretrained(tmp_path).eval()
    pixels = picture(70, 90)[None]
    with torch.no_grad():
        assert torch.equal(model(pixels).logits, loaded(pixels).logits)
        assert torch.equal(model(pixels).pred_boxes, loaded(pixels).pred_boxes)
    assert loaded.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert loaded.config.levels == ("c4", "c5", "c6")


def test_bfloat16_trains_finitely_and_predicts_in_float32() -> None:
    model = stirred_model().train()
    pixels, mask = padded_batch([picture(70, 101), picture(50, 60)])
    exact = model(pixels, mask)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(pixels, mask, labels(2, 0))
    assert output.loss is not None
    output.loss.backward()
    assert output.logits.dtype == output.pred_boxes.dtype == torch.float32
    torch.testing.assert_close(output.logits, exact.logits, rtol=0, atol=0.1)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_in_half_precision_the_backbone_alone_is_loaded_so(tmp_path: Path, dtype: torch.dtype) -> None:
    exact = stirred_model(backbone_norm="frozen")
    exact.save_pretrained(tmp_path / "exact")
    half = AutoModelForObjectDetection.from_pretrained(tmp_path / "exact", dtype=dtype).eval()
    half.save_pretrained(tmp_path / "half")
    models = (
        half,
        AutoModelForObjectDetection.from_pretrained(tmp_path / "half").eval(),
        AutoModelForObjectDetection.from_config(exact.config, dtype=dtype).eval(),
    )
    pixels, mask = padded_batch([picture(70, 101), picture(50, 60)])
    for model in models:
        tensors = {name: tensor.dtype for name, tensor in model.state_dict().items()}
        assert {dtype} == {kind for name, kind in tensors.items() if name.startswith("backbone.")}
        assert {torch.float32} == {kind for name, kind in tensors.items() if not name.startswith("backbone.")}
        with torch.no_grad():
            assert torch.equal(model(pixels, mask).logits, model(pixels.to(dtype), mask).logits)
    with torch.no_grad():
        torch.testing.assert_close(half(pixels, mask).logits, exact(pixels, mask).logits, rtol=0, atol=0.1)


def attended(model: SmcaForObjectDetection) -> tuple[Any, Tensor]:
    """Outputs with attentions for two pictures of a batch, and which cells of both are image [2, S]."""
    pixels, mask = padded_batch([picture(70, 101), picture(50, 60)])
    with torch.no_grad():
        padding = model.tokens(pixels, mask).padding
        assert padding is not None
        return model(pixels, mask, output_attentions=True, intermediates=True), ~padding


def test_attentions_are_probabilities_of_what_may_be_seen() -> None:
    model = stirred_model(levels=("c4", "c5"))
    output, image = attended(model)
    attentions = (*output.encoder_attentions, *output.decoder_attentions, *output.cross_attentions)
    sizes = [(35 + 12, 35 + 12)] * 2 + [(6, 6)] * 2 + [(6, 35 + 12)] * 2
    assert [tuple(one.shape) for one in attentions] == [(2, 2, *size) for size in sizes]
    for one in attentions:
        torch.testing.assert_close(one.sum(dim=-1), torch.ones(one.shape[:-1]))
    for one in (*output.encoder_attentions, *output.cross_attentions):
        assert one.masked_select(~image[:, None, None]).abs().max() == 0
    intra, multi = output.encoder_attentions
    assert intra[..., :35, 35:].abs().max() == intra[..., 35:, :35].abs().max() == 0
    assert multi[..., :35, 35:].sum() > 0
    for one, shares in zip(output.cross_attentions, output.intermediates.scale_weights, strict=True):
        levels = torch.stack([level.sum(dim=-1) for level in one.split((35, 12), dim=-1)], dim=-1)
        torch.testing.assert_close(levels, shares[:, None].expand(-1, 2, -1, -1))


def test_states_lead_from_the_projection_to_the_heads() -> None:
    model = stirred_model(output_hidden_states=True)
    pixels = picture(70, 90)[None]
    with torch.no_grad():
        output = model(pixels)
        assert torch.equal(output.encoder_hidden_states[0], model.tokens(pixels, None).features)
        torch.testing.assert_close(model.class_head(output.decoder_hidden_states[-1]), output.logits)
        assert model(pixels, output_hidden_states=False).decoder_hidden_states is None
    assert [len(states) for states in (output.encoder_hidden_states, output.decoder_hidden_states)] == [3, 3]
    assert output.encoder_attentions is None


def test_eager_attention_needs_no_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    model = stirred_model()
    assert model.config._attn_implementation == "sdpa"
    pixels, mask = padded_batch([picture(70, 101), picture(50, 60)])
    with torch.no_grad():
        fused = model(pixels, mask)
        monkeypatch.delattr(nn.functional, "scaled_dot_product_attention")
        model.set_attn_implementation("eager")
        eager = model(pixels, mask)
    torch.testing.assert_close(eager.logits, fused.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(eager.pred_boxes, fused.pred_boxes, rtol=0, atol=1e-5)


def test_outputs_are_a_tuple_on_request() -> None:
    model = stirred_model()
    pixels = picture(70, 90)[None]
    with torch.no_grad():
        output = model(pixels)
        logits, boxes = model(pixels, return_dict=False)
    assert torch.equal(logits, output.logits)
    assert torch.equal(boxes, output.pred_boxes)


def test_frozen_stages_never_train() -> None:
    model = small_model(backbone="resnet18", backbone_norm="frozen", frozen_stages=2)
    trains = {
        name.split(".")[2]: p.requires_grad for name, p in model.named_parameters() if name.startswith("backbone")
    }
    assert trains == {"conv1": False, "layer1": False, "layer2": True, "layer3": True, "layer4": True}


@pytest.mark.parametrize(
    ("name", "first_that_trains"),
    [("resnet18d", "layer2"), ("tf_efficientnet_lite0", "blocks.2"), ("convnext_atto", "stages_2")],
)
def test_stages_of_timm_end_where_its_feature_maps_do(name: str, first_that_trains: str) -> None:
    model = small_model(backbone=f"timm/{name}", backbone_norm="frozen", frozen_stages=2)
    body = list(model.backbone.body.named_parameters())
    first = next(index for index, (_, parameter) in enumerate(body) if parameter.requires_grad)
    assert body[first][0].startswith(first_that_trains)
    assert all(parameter.requires_grad == (index >= first) for index, (_, parameter) in enumerate(body))
