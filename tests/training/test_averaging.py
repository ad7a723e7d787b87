"""The moving average of weights, against its formula, through a checkpoint, and in a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from smca.errors import ConfigurationError
from smca.training import launch
from smca.training.averaging import Average, decay_at
from smca.training.recipe import Optimisation
from tests.modeling.tiny import stirred_model
from tests.training.runs import small_request


def test_it_is_the_formula(tmp_path: Path) -> None:
    model = stirred_model(backbone_norm="batch")
    average = Average(model, 0.5)
    expected: dict[str, torch.Tensor] = {}
    for update in range(6):
        with torch.no_grad():
            for value in [*model.parameters(), *model.buffers()]:
                value.add_(update + 1)
        now = {name: value.clone() for name, value in model.state_dict().items()}
        decay = 0.0 if update == 0 else decay_at(update, 0.5)
        expected = {
            name: decay * expected.get(name, value) + (1 - decay) * value if value.is_floating_point() else value
            for name, value in now.items()
        }
        average.update(model)
        if update == 2:
            average.save(tmp_path)
            average = Average(stirred_model(backbone_norm="batch"), 0.5)
            average.load(tmp_path)
    for name, value in average.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_the_decay_grows() -> None:
    decays = [decay_at(update, 0.99) for update in range(2000)]
    assert decays[0] == pytest.approx(0.1)
    assert decays == sorted(decays)
    assert decays[-1] == 0.99


def test_a_run_saves_the_average_and_trains_as_without(scenes: Path, tmp_path: Path) -> None:
    for name, value in (("plain", "0"), ("averaged", ".9")):
        launch.train(small_request(scenes, tmp_path / name, f"averaging={value}"))
    plain, trained = (
        load_file(tmp_path / name / "checkpoints/checkpoint-4/model.safetensors") for name in ("plain", "averaged")
    )
    assert all(torch.equal(value, trained[key]) for key, value in plain.items())
    saved = load_file(tmp_path / "averaged" / "last" / "model.safetensors")
    kept = load_file(tmp_path / "averaged" / "checkpoints/checkpoint-4/averaged.safetensors")
    assert not torch.equal(saved["class_head.weight"], trained["class_head.weight"])
    assert torch.equal(saved["class_head.weight"], kept["module.class_head.weight"])


@pytest.mark.parametrize("value", [1.0, 2.0, -0.1, float("nan")])
def test_what_is_no_decay_is_refused(value: float) -> None:
    with pytest.raises(ConfigurationError, match="averaging is"):
        Optimisation(averaging=value)
