"""E1 and the encoder's blocks: the scalar loop, what may reach what, and what is shared."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.encoder import Encoder
from smca.modeling.input_projection import Tokens
from tests.modeling import oracle
from tests.modeling.tiny import random_tokens, small_config, stir

SIZES = [(60, 100), (90, 50)]
SHARING = [(True, True), (True, False), (False, True), (False, False)]
KINDS = pytest.mark.parametrize("kind", ["intra", "multi"])


def block(kind: str, **switches: Any) -> tuple[Encoder, Tokens]:
    torch.manual_seed(5)
    config = small_config(encoder=(kind,), **switches)
    return stir(Encoder(config), 0.3).double().eval(), random_tokens(config, SIZES)


@KINDS
@pytest.mark.parametrize(("shared_attention", "shared_ffn"), SHARING)
def test_a_block_equals_the_scalar_loop(kind: str, shared_attention: bool, shared_ffn: bool) -> None:
    encoder, tokens = block(kind, shared_attention=shared_attention, shared_ffn=shared_ffn)
    found = encoder(tokens).features
    assert tokens.padding is not None
    levels = [level for level, length in enumerate(tokens.lengths) for _ in range(length)]
    for image in range(2):
        features, positions = (x[image].detach().numpy() for x in (tokens.features, tokens.positions))
        hidden = tokens.padding[image].tolist()
        wanted = oracle.encoder_block(encoder.blocks[0], features, positions, hidden, levels)
        seen = ~tokens.padding[image].numpy()
        np.testing.assert_allclose(found[image].detach()[seen], wanted[seen], atol=1e-9)


def reach(encoder: Encoder, tokens: Tokens, level: int) -> list[bool]:
    """Whether a change of one level's features changes each level's output."""
    parts = list(tokens.features.split(tokens.lengths, dim=1))
    parts[level] = parts[level] + torch.randn_like(parts[level])
    before = encoder(tokens).features
    after = encoder(dataclasses.replace(tokens, features=torch.cat(parts, dim=1))).features
    return [not torch.equal(a, b) for a, b in zip(*(x.split(tokens.lengths, 1) for x in (before, after)), strict=True)]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("pre_norm", [True, False])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_an_intra_block_keeps_levels_apart_and_a_multi_block_joins_them(
    shared: bool, pre_norm: bool, level: int
) -> None:
    switches = {"shared_attention": shared, "shared_ffn": shared, "pre_norm": pre_norm}
    assert reach(*block("intra", **switches), level) == [other == level for other in range(3)]
    assert reach(*block("multi", **switches), level) == [True, True, True]


@KINDS
def test_what_lies_in_padding_reaches_nothing(kind: str) -> None:
    encoder, tokens = block(kind)
    assert tokens.padding is not None
    noise = torch.randn_like(tokens.features) * tokens.padding[..., None]
    noisy = dataclasses.replace(tokens, features=tokens.features + noise)
    before, after = encoder(tokens).features, encoder(noisy).features
    seen = ~tokens.padding
    torch.testing.assert_close(after[seen], before[seen], rtol=0, atol=1e-12)


def test_positions_go_to_queries_and_keys_only() -> None:
    """With query and key blind to what they see, positions have no other way into the output."""
    encoder, tokens = block("multi")
    first: Any = encoder.blocks[0]
    for projection in first.query_key.parameters():
        torch.nn.init.zeros_(projection)
    moved = dataclasses.replace(tokens, positions=torch.randn_like(tokens.positions))
    assert torch.equal(encoder(tokens).features, encoder(moved).features)


def test_an_encoder_without_blocks_changes_nothing() -> None:
    config = small_config(encoder=())
    tokens = random_tokens(config, SIZES)
    assert torch.equal(Encoder(config)(tokens).features, tokens.features)


def trainable(**switches: Any) -> float:
    """Millions of trainable parameters of a model that is never filled with numbers."""
    with torch.device("meta"):
        model = SmcaForObjectDetection(SmcaConfig(**switches))
    return sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6


@pytest.mark.parametrize(
    ("shared_attention", "shared_ffn", "millions"),
    [(True, True, 39.5), (False, True, 42.2), (True, False, 44.7), (False, False, 47.3)],
)
def test_sharing_gives_the_parameters_of_the_papers_table(
    shared_attention: bool, shared_ffn: bool, millions: float
) -> None:
    """The paper rounds; its table also counts fewer norms than one per unshared part (about .1 M)."""
    assert trainable(shared_attention=shared_attention, shared_ffn=shared_ffn) == pytest.approx(millions, abs=0.15)


@pytest.mark.parametrize(
    ("encoder", "millions"), [(("intra",) * 5, 39.53), (("intra",) * 3, 37.95), (("multi",) * 3, 37.95)]
)
def test_number_of_blocks_gives_the_parameters_of_the_papers_table(encoder: tuple[str, ...], millions: float) -> None:
    assert trainable(encoder=encoder) == pytest.approx(millions, abs=0.006)


def test_dropout_of_attention_acts_in_training_only() -> None:
    encoder, tokens = block("intra", attention_dropout=0.5)

    def twice() -> tuple[Tensor, Tensor]:
        return encoder(tokens).features, encoder(tokens).features

    assert torch.equal(*twice())
    encoder.train()
    assert not torch.equal(*twice())
