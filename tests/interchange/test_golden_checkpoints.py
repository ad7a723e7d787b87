"""Checkpoint files of the authors' layouts, through `convert_file` and `smca.load`, give the authors' numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from smca.inference.loading import load
from smca.interchange.classes import coco_ids
from smca.interchange.convert import convert_file
from smca.modeling.detector import SmcaForObjectDetection
from tests.modeling.official import Golden
from tests.modeling.tiny import padded_batch

TOLERANCE = 5e-6
CASES = ("official_r50_alone", "official_multiscale_dw_r50")


@pytest.fixture(scope="module", params=CASES)
def converted(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Golden, SmcaForObjectDetection]:
    golden = Golden(shared / "golden", request.param)
    folder = tmp_path_factory.mktemp("checkpoint")
    conversion = convert_file(golden.write(folder / "checkpoint.pth"), folder / "model")
    assert (conversion.taken, conversion.fresh) == (len(golden.case["shapes"]), [])
    model = load(folder / "model", "cpu")
    assert isinstance(model, SmcaForObjectDetection)
    return golden, model


@pytest.mark.parametrize("batched", [False, True], ids=["alone", "padded batch"])
@torch.no_grad()
def test_every_layer_equals_the_authors(converted: tuple[Golden, SmcaForObjectDetection], batched: bool) -> None:
    """In a padded batch each image gets the numbers it has alone."""
    golden, model = converted
    pictures = golden.images()
    batches = [padded_batch(pictures)] if batched else [padded_batch([picture]) for picture in pictures]
    seen = [model(*batch, intermediates=True).intermediates for batch in batches]
    logits = torch.cat([one.all_logits for one in seen], dim=1)
    boxes = torch.cat([one.all_boxes for one in seen], dim=1)
    wanted = golden.expected["pred_logits"][..., list(coco_ids())]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(boxes, golden.expected["pred_boxes"], rtol=0, atol=TOLERANCE)


@torch.no_grad()
def test_the_folded_form_gives_them_too(converted: tuple[Golden, SmcaForObjectDetection]) -> None:
    golden, model = converted
    output = model(*padded_batch(golden.images()))
    wanted = golden.expected["pred_logits"][-1][..., list(coco_ids())]
    np.testing.assert_allclose(output.logits, wanted, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(output.pred_boxes, golden.expected["pred_boxes"][-1], rtol=0, atol=TOLERANCE)
