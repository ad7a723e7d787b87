"""`smca train DATA --init MODEL`: the model's own network, from a folder, a checkpoint or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import DetrConfig, DetrForObjectDetection

from smca.errors import ConfigurationError, WeightsError
from smca.inference.loading import class_names
from smca.modeling.detector import SmcaForObjectDetection
from smca.training import beginning, launch
from smca.training.beginning import initial_model
from smca.training.overfit import overfit
from smca.training.recipe import from_yaml
from smca.training.request import TrainRequest
from tests.interchange.checkpoints import detr_shapes, write
from tests.training.runs import small_request

TIMM: dict[str, Any] = {"use_timm_backbone": True, "backbone": "resnet18", "use_pretrained_backbone": False}


@pytest.fixture(scope="module")
def first(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return launch.train(small_request(scenes, tmp_path_factory.mktemp("runs") / "first", "num_queries=15")) / "best"


def test_a_model_is_tuned_as_it_is(first: Path, scenes: Path, tmp_path: Path) -> None:
    request = TrainRequest(scenes, None, out=tmp_path / "run", init=str(first), epochs=1, workers=0, device="cpu")
    run = launch.train(request)
    recipe = from_yaml(run / "recipe.yaml")
    assert recipe.name == "fine-tuning"
    assert (recipe.model["num_queries"], recipe.model["d_model"], recipe.image_size) == (15, 16, 64)
    assert recipe.optimisation.averaging > 0
    before, after = (load_file(folder / "model.safetensors") for folder in (first, run / "last"))
    assert before.keys() == after.keys()
    moved = torch.cat([(after[key] - before[key]).flatten().abs() for key in before])
    assert 0 < moved.median() < 1e-3
    assert launch.resume(run) == run


def test_without_a_recipe_there_must_be_a_model(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--recipe NAME .* or --init MODEL"):
        launch.train(TrainRequest(scenes, None, out=tmp_path / "run"))


def test_a_hub_is_asked_for_what_is_not_here(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(name: str, allow_patterns: list[str]) -> str:
        asked.append(name)
        assert all(pattern.endswith((".json", ".safetensors")) for pattern in allow_patterns)
        if name != "someone/model":
            raise OSError("no\nroute")
        return str(first)

    monkeypatch.setattr(beginning, "snapshot_download", fetch)
    assert initial_model("someone/model").config.num_queries == 15
    with pytest.raises(WeightsError, match=r"neither a folder or file here nor on the hub \(no route\)"):
        initial_model("nobody/model")
    assert asked == ["someone/model", "nobody/model"]


def test_a_checkpoint_of_detr_is_a_beginning(tmp_path: Path) -> None:
    model = initial_model(str(write(tmp_path / "detr.pth", detr_shapes())))
    assert class_names(model)[0] == "person"


def test_a_detr_of_transformers_is_a_beginning(tmp_path: Path) -> None:
    """What is the same in both, encoder and backbone, computes the same."""
    sizes: dict[str, Any] = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    settings = DetrConfig(d_model=32, **sizes, **TIMM)
    theirs = DetrForObjectDetection(settings).eval()
    theirs.save_pretrained(tmp_path / "detr")
    ours = initial_model(str(tmp_path / "detr"))
    assert isinstance(ours, SmcaForObjectDetection)
    picture = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        expected = theirs(picture).encoder_last_hidden_state
        states = ours.eval()(pixel_values=picture, output_hidden_states=True).encoder_hidden_states
    assert states is not None
    torch.testing.assert_close(states[-1], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_pictures_are_learned_by_heart_or_not(scenes: Path) -> None:
    assert 0 <= overfit(scenes, 2, epochs=1) < 0.5
