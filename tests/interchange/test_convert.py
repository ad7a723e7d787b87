"""Public checkpoints -> MODELs: what is recognised, what is taken, what is refused, and where the model opens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import pipeline

from smca.errors import OutputError, WeightsError
from smca.inference.loading import class_names, load
from smca.interchange.checkpoint import Checkpoint
from smca.interchange.classes import classes_of, coco_ids
from smca.interchange.convert import convert_file, converted
from smca.modeling.detector import SmcaForObjectDetection
from tests.interchange.checkpoints import (
    CHANNELS,
    HEADS,
    QUERIES,
    Shapes,
    detr_shapes,
    filled,
    multi_scale_shapes,
    single_scale_shapes,
    write,
)
from tests.modeling.tiny import picture

NEW_IN_SMCA = ("centre", "weight_map", "query_norm")


def made(shapes: Shapes, **arguments: Any) -> SmcaForObjectDetection:
    return converted(Checkpoint(filled(shapes), {"nheads": HEADS, **arguments})).model


def test_a_folder_opens_here_and_in_transformers_with_the_same_boxes(tmp_path: Path) -> None:
    source = write(tmp_path / "smca.pth", single_scale_shapes())
    conversion = convert_file(source, tmp_path / "model")
    assert (conversion.kind, conversion.fresh) == ("single-scale SMCA", [])
    photo = Image.effect_noise((120, 90), 80).convert("RGB")
    model = load(tmp_path / "model", "cpu")
    assert isinstance(model, SmcaForObjectDetection)
    ours = model.predict([photo], threshold=0.0)[0]
    theirs = pipeline("object-detection", model=str(tmp_path / "model"))(photo, threshold=0.0)
    assert len(ours) == 100
    assert [row["label"] for row in theirs] == list(ours.names)
    assert [row["score"] for row in theirs] == pytest.approx(ours.scores.tolist(), abs=1e-5)


@pytest.mark.parametrize(("share", "spread"), [(0, "fixed"), (1, "single"), (2, "independent"), (3, "product")])
def test_shapes_tell_the_spread(share: int, spread: str) -> None:
    config = made(single_scale_shapes(share), dynamic_scale="type2", smooth=16).config
    assert (config.spread, config.bandwidth, config.num_heads) == (spread, 16.0, HEADS)
    assert (config.spread_form, config.cell_position, config.centre_layers) == ("inverse-width", "integer", 3)
    assert (config.levels, config.encoder, config.num_queries) == (("c5",), ("intra", "intra"), QUERIES)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
def test_arguments_may_be_missing_and_dilation_is_read(backbone: str) -> None:
    model = converted(Checkpoint(filled(single_scale_shapes(backbone=backbone)), {"dilation": True})).model
    assert (model.config.backbone, model.config.bandwidth, model.config.dilation) == (backbone, 8.0, True)
    assert model.backbone.levels["c5"].stride == 16


def test_a_released_multi_scale_model_is_recognised() -> None:
    model = made(multi_scale_shapes())
    config = model.config
    assert (config.levels, config.encoder) == (("c3", "c4", "c5", "c6"), ("depthwise", "depthwise"))
    assert (config.halve_finest, config.level_factors, config.num_heads) == (True, (0.5, 0.5, 1.0, 2.0), HEADS)
    with torch.no_grad():
        assert model(picture(70, 100)[None]).pred_boxes.shape == (1, QUERIES, 4)


def test_detr_becomes_a_beginning_and_says_what_is_new() -> None:
    checkpoint = Checkpoint(filled(detr_shapes()), {"nheads": HEADS})
    conversion = converted(checkpoint)
    assert conversion.kind == "DETR"
    assert conversion.fresh
    assert all(any(f".{part}." in name for part in NEW_IN_SMCA) for name in conversion.fresh)
    assert torch.equal(conversion.model.decoder.query_position.weight, checkpoint.tensors["query_embed.weight"])
    centres = conversion.model(picture(64, 64)[None], intermediates=True).intermediates.centres[0, 0]
    assert (centres.std(dim=0) > 0.1).all(), "the new centres cover the image for the queries that DETR brings"


@pytest.mark.parametrize("outputs", [92, 91, 81, 80])
def test_classes_are_cocos_in_ascending_raw_id(outputs: int) -> None:
    tensors = filled(single_scale_shapes(outputs=outputs))
    model = converted(Checkpoint(tensors, {"nheads": HEADS})).model
    names = class_names(model)
    assert len(names) == 80
    assert [names[i] for i in (0, 1, 11, 79)] == ["person", "bicycle", "stop sign", "toothbrush"]
    rows = list(coco_ids()) if outputs > 81 else list(range(80))
    assert torch.equal(model.class_head.weight, tensors["class_embed.weight"][rows])
    assert (list(coco_ids())[11], max(coco_ids())) == (13, 90)


def test_detrs_logits_become_what_a_class_scores_above_no_object() -> None:
    tensors = filled(detr_shapes())
    head = converted(Checkpoint(tensors, {})).model.class_head
    raw = tensors["class_embed.bias"]
    assert torch.allclose(head.bias, raw[list(coco_ids())] - raw[91])


def test_other_numbers_of_classes_keep_every_output() -> None:
    assert classes_of(3, softmax=False) == (("class 0", "class 1", "class 2"), [0, 1, 2])
    assert classes_of(4, softmax=True) == (("class 0", "class 1", "class 2"), [0, 1, 2])


def without(tensors: dict[str, Tensor], pattern: str) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if not re.search(pattern, key)}


def changed(pattern: str = "", **new: Tensor) -> Checkpoint:
    tensors = filled(single_scale_shapes())
    return Checkpoint({**(without(tensors, pattern) if pattern else tensors), **new}, {"nheads": HEADS})


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        (changed("layers.1.linear1.bias"), r"2 missing \(transformer.decoder.layers.1.linear1.bias, "),
        (changed("norm4"), r"4 missing \(transformer.decoder.layers.0.norm4.bias"),
        (changed(mask_head=torch.zeros(1)), r"1 unknown \(mask_head\)"),
        (changed(**{"bbox_embed.layers.2.bias": torch.zeros(5)}), r"of another shape \(bbox_embed.layers.2.bias \[5\]"),
        (changed(**{"class_embed.bias": torch.zeros(4)}), r"of another shape \(class_embed.bias \[4\]"),
        (changed(**{"class_embed.bias": torch.tensor(0.0)}), r"of another shape \(class_embed.bias \[\]"),
        (changed("input_proj"), "another architecture.*lacks DETR's input_proj"),
        (changed("query_embed"), "another architecture.*query_embed"),
        (changed("layer3"), "0 blocks in layer3"),
        (Checkpoint(filled(detr_shapes()), {"nheads": 3}), "multiple of 4 and of num_heads"),
        (Checkpoint(filled(detr_shapes()), {"nheads": "many"}), "stored arguments are of no use"),
        (Checkpoint({"fc.weight": torch.zeros(2)}, {}), "another architecture.*its keys begin fc.weight"),
    ],
)
def test_what_does_not_fit_is_named(checkpoint: Checkpoint, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        converted(checkpoint)
    assert "\n" not in str(caught.value)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    source = write(tmp_path / "smca.pth", single_scale_shapes())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="in use"):
        convert_file(source, tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["notes.txt"]


def test_widths_come_from_the_file() -> None:
    assert made(single_scale_shapes()).config.d_model == CHANNELS
