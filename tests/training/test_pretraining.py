"""UP-DETR's pre-training: groups apart, crops where they were cut, a loss that falls, and a MODEL to start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torchvision.transforms import v2

from smca.errors import ConfigurationError, OutputError
from smca.inference.loading import load
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.training import pretraining
from smca.training.launch import resolved_recipe, train
from smca.training.pretraining import Pretrainer, Puzzle, Puzzles, crops_for, pretrain
from tests.training.runs import small_request


def files(scenes: Path) -> list[Path]:
    """Pictures without their labels."""
    return sorted((scenes / "images").iterdir())[:8]


def test_crops_divide_the_queries() -> None:
    assert [crops_for(queries) for queries in (300, 100, 48, 7, 13)] == [10, 10, 8, 7, 1]


def test_a_crop_is_what_its_box_frames(scenes: Path) -> None:
    puzzles = Puzzles(files(scenes), crops=5, side=16, seed=0)
    puzzles.jitter = v2.Compose([v2.Identity()])
    image, patches, boxes = puzzles[0]
    for patch, (cx, cy, w, h) in zip(patches, boxes.tolist(), strict=True):
        left, top = (round(64 * (middle - side / 2)) for middle, side in ((cx, w), (cy, h)))
        right, bottom = (round(64 * (middle + side / 2)) for middle, side in ((cx, w), (cy, h)))
        inside = image[:, top:bottom, left:right].float() / 255
        assert patch.mean() == pytest.approx(inside.mean().item(), abs=0.08)
    assert torch.equal(puzzles[0].boxes, boxes)
    puzzles.epoch = 1
    assert not torch.equal(puzzles[0].boxes, boxes)


@torch.no_grad()
def test_groups_do_not_see_one_another(scenes: Path, tmp_path: Path) -> None:
    recipe = resolved_recipe(small_request(scenes, tmp_path))
    torch.manual_seed(0)
    model = SmcaForObjectDetection(recipe.config(("object",))).eval()
    tokens = model.encoder(model.tokens(torch.randn(1, 3, 64, 64), None), False)
    prompt = torch.randn(1, 14, 16)
    other = torch.cat([prompt[:, :7], torch.randn(1, 7, 16)], dim=1)
    first, second = (model.decoder(tokens, model.box_head, prompt=p, groups=2).outputs for p in (prompt, other))
    assert torch.allclose(first[:, :, :7], second[:, :, :7], atol=1e-6)
    assert not torch.allclose(first[:, :, 7:], second[:, :, 7:], atol=1e-2)
    joined = model.decoder(tokens, model.box_head, prompt=other).outputs
    assert not torch.allclose(first[:, :, :7], joined[:, :, :7], atol=1e-3)


def test_it_learns_and_what_it_learned_starts_a_run(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []

    class Listener(pretraining.Progress):
        def __call__(self, done: int, total: int, note: str = "") -> None:
            losses.append(float(note.removeprefix("loss ")))

    monkeypatch.setattr(pretraining, "Progress", Listener)
    request = small_request(scenes, tmp_path / "run", "lr=5e-3")
    out = tmp_path / "model"
    assert pretrain(files(scenes), resolved_recipe(request), epochs=12, out=out) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    run = train(small_request(scenes, tmp_path / "run", init=str(out)))
    assert (run / "best" / "config.json").is_file()
    assert load(out).config.id2label == {0: "object"}
    with pytest.raises(OutputError):
        pretrain(files(scenes), resolved_recipe(request), epochs=1, out=tmp_path / "model")


def test_one_that_was_stopped_goes_on_and_ends_as_one_that_was_not(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = resolved_recipe(small_request(scenes, tmp_path)), tmp_path / "parts"
    pretrain(files(scenes), recipe, epochs=3, out=tmp_path / "whole")
    forward, seen = Pretrainer.forward, []

    def stopping(self: Pretrainer, puzzles: Sequence[Puzzle]) -> Tensor:
        seen.append(puzzles)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return forward(self, puzzles)

    with monkeypatch.context() as patched:
        patched.setattr(Pretrainer, "forward", stopping)
        with pytest.raises(KeyboardInterrupt):
            pretrain(files(scenes), recipe, epochs=3, out=out)
    with pytest.raises(OutputError, match="another pre-training"):
        pretrain(files(scenes)[1:], recipe, epochs=3, out=out)
    torch.manual_seed(5)
    pretrain(files(scenes), recipe, epochs=3, out=out)
    assert "going on after epoch 2" in capsys.readouterr().out
    first, second = (load_file(place / "model.safetensors") for place in (tmp_path / "whole", out))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "whole"]


def test_every_weight_but_backbone_and_class_head_learns(scenes: Path, tmp_path: Path) -> None:
    recipe = resolved_recipe(small_request(scenes, tmp_path))
    detector = SmcaForObjectDetection(recipe.config(("object",)))
    detector.backbone.requires_grad_(False)
    processor = SmcaImageProcessor.suited_to(detector.config, {"shortest_edge": 64, "longest_edge": 96})
    model = Pretrainer(detector, processor)
    puzzles = Puzzles(files(scenes), model.crops, side=32, seed=0)
    model([puzzles[0], puzzles[1]]).backward()
    unread = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert unread == {"detector.class_head.weight", "detector.class_head.bias"}


def test_only_ours_can_be_pretrained(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be pre-trained"):
        pretrain(files(scenes), resolved_recipe(_fcos(scenes, tmp_path)), epochs=1, out=tmp_path / "m")


def _fcos(scenes: Path, out: Path) -> pretraining.Any:
    from smca.training.request import TrainRequest

    return TrainRequest(scenes, "fcos-tiny", out)
