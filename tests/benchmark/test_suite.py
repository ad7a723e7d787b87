"""What is compared does the same work on both sides, and what is measured can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from smca.benchmark import losses
from smca.benchmark.attention import C5, FORMS, Attention, MapSize, Shape, growth, most_alive
from smca.benchmark.loading import padding_shares
from smca.benchmark.models import TINY, decoding, learning, looking, ours, theirs
from smca.benchmark.suite import Suite, markdown, write_report
from smca.errors import ConfigurationError

SMALL = Shape(MapSize(5, 7), queries=3)


def test_all_forms_of_modulated_attention_give_the_same() -> None:
    attention = Attention(SMALL)
    outputs = {form: attention.forward(form)() for form in FORMS}
    for form in ("folded", "masked"):
        torch.testing.assert_close(outputs[form], outputs["explicit"], rtol=1e-4, atol=1e-4)
    plain, explicit = (torch.as_tensor(outputs[form]) for form in ("plain", "explicit"))
    assert not torch.allclose(plain, explicit)


def test_going_back_gives_every_input_a_gradient() -> None:
    for form in FORMS:
        slopes = Attention(SMALL).training(form)()
        assert isinstance(slopes, tuple)
        assert len(slopes) == (3 if form in ("plain", "wide") else 5)
        assert all(slope.abs().sum() > 0 for slope in slopes)


def test_the_wide_call_is_the_plain_one_with_more_channels() -> None:
    attention = Attention(SMALL)
    plain, wide = (torch.as_tensor(attention.forward(form)()) for form in ("plain", "wide"))
    assert wide.shape[-1] > plain.shape[-1]
    torch.testing.assert_close(wide[..., : plain.shape[-1]], plain)


def test_memory_of_the_folded_form_grows_with_the_cells_and_not_with_the_product() -> None:
    """Twice the queries cost next to nothing, where the explicit form pays for every pair."""
    few, many = (Attention(Shape(C5, queries=queries)) for queries in (100, 200))
    folded, explicit = (
        most_alive(many.training(form)) / most_alive(few.training(form)) for form in ("folded", "explicit")
    )
    assert folded < 1.25
    assert explicit > 1.8


def test_folding_adds_little_memory() -> None:
    extra = next(amount for amount in growth() if amount.what == "what folding adds")
    assert extra.met


def test_both_ways_of_matching_and_scoring_have_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "IMAGES", 2)
    monkeypatch.setattr(losses, "BOXES", 3)
    monkeypatch.setattr(losses, "QUERIES", 9)
    ours_, theirs_ = (work() for work in losses.cases("cpu").values())
    assert isinstance(ours_, tuple)
    assert isinstance(theirs_, tuple)
    torch.testing.assert_close(ours_[1], theirs_[1], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_every_model_looks_and_learns() -> None:
    pixels = torch.randn(1, 3, 64, 96)
    for model in (ours(TINY, True), ours(TINY, False, "none"), theirs(TINY, True), theirs(TINY, False)):
        looking(model, pixels)()
        before = next(p for p in reversed(list(model.parameters())) if p.requires_grad).clone()
        learning(model, pixels)()
        after = next(p for p in reversed(list(model.parameters())) if p.requires_grad)
        assert not torch.equal(before, after)
    decoding(ours(TINY, True), pixels)()


def test_similar_sizes_pad_less() -> None:
    shares = padding_shares(images=300)
    assert shares["similar sizes"] < shares["random order"] / 2


def test_results_become_a_page_a_plot_and_json(tmp_path: Path) -> None:
    said: list[str] = []
    suite = Suite(rounds=1, say=said.append)
    results = suite.run(["loss"])
    write_report(tmp_path, results)
    assert json.loads((tmp_path / "speed.json").read_text())["rows"][0]["limit"] == losses.LIMIT
    assert "matching and loss" in (tmp_path / "speed.md").read_text()
    assert Image.open(tmp_path / "speed.png").width > 500
    assert any("layer by layer" in line for line in said)
    results["rows"][0].update(met=False)
    assert "**not met**" in markdown(results)


def test_an_unknown_group_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigurationError, match=r"no benchmark group 'modles'.*models"):
        Suite(1, print).run(["loss", "modles"])
