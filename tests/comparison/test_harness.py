"""A comparison from beginning to end: resumable, honest about failures, the same for all."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from smca.comparison import harness
from smca.comparison.fairness import fairness
from smca.comparison.folder import ComparisonRequest
from smca.comparison.harness import Comparison
from smca.data.scenes import make_scenes
from smca.errors import ConfigurationError, DataError, OutputError
from smca.sizes import ImageSize
from smca.training.recipes.contestants import CONTESTANTS, SIZES, contestant
from smca.training.request import TrainRequest
from tests.held import held

SMALL = (
    "backbone_widths=[4,8,8,8,8]",
    "d_model=64",
    "num_heads=2",
    "ffn_dim=16",
    "decoder_layers=2",
    "num_queries=14",
    "crop_epochs=1",
    "precision=fp32",
)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set: 8 images to train on, 4 held back."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    return make_scenes(folder, images=12, seed=0, size=ImageSize(height=64, width=64))


def request(scenes: Path, *models: str, **options: Any) -> ComparisonRequest:
    """Two epochs of small models."""
    return ComparisonRequest(
        scenes, models, epochs=2, overrides=SMALL, image_size=64, workers=0, device="cpu", pretrain_epochs=1, **options
    )


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """The rows of the table, by system."""
    return {row["model"]: row for row in json.loads((out / "table.json").read_text())["rows"]}


def test_a_setting_may_be_of_one_system(scenes: Path, tmp_path: Path) -> None:
    asked = request(scenes, "smca", "detr")
    asked = dataclasses.replace(asked, overrides=(*SMALL, "lr=1e-3", "detr:lr=1e-4", "detr:pre_norm=false"))
    recipes = Comparison(asked, tmp_path / "out").recipes
    assert {name: recipe.optimisation.lr for name, recipe in recipes.items()} == {"smca": 1e-3, "detr": 1e-4}
    assert [recipe.model["pre_norm"] for recipe in recipes.values()] == [True, False]
    with pytest.raises(ConfigurationError, match=r"no system 'dter' is compared. Did you mean 'detr'\?"):
        Comparison(dataclasses.replace(asked, overrides=("dter:lr=1",)), tmp_path / "out")


def test_a_recipe_file_is_a_system(scenes: Path, tmp_path: Path) -> None:
    recipe = contestant("smca", "tiny")
    (tmp_path / "mine.yaml").write_text(
        dataclasses.replace(recipe, model={**recipe.model, "spread": "fixed"}).to_yaml()
    )
    asked = request(scenes, str(tmp_path / "mine.yaml"), "smca")
    asked = dataclasses.replace(asked, overrides=(*SMALL, "mine:lr=1e-3"))
    comparison = Comparison(asked, tmp_path / "out")
    assert list(comparison.recipes) == ["mine", "smca"]
    assert comparison.recipes["mine"].config().spread == "fixed"
    assert comparison.recipes["mine"].optimisation.lr == 1e-3
    comparison.run()
    assert [row["failed"] for row in rows(tmp_path / "out").values()] == [None, None]
    with pytest.raises(ConfigurationError, match="one name"):
        Comparison(request(scenes, "smca", "smca"), tmp_path / "out")


def test_ours_and_theirs_in_one_table(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = ("smca", "detr-dc5", "up-detr", "deformable-detr")
    Comparison(request(scenes, *names), out).run()
    table = rows(out)
    assert tuple(table) == names
    for row in table.values():
        assert row["failed"] is None
        assert row["seeds"] == 1
        assert row["epochs"] == 2
        assert 0 <= row["AP"] <= 1
        assert row["parameters"] > 0
        assert row["gmacs"] > 0
        assert row["seconds"] > 0
        assert row["last_loss"] < row["first_loss"] * 1.5
    page = (out / "table.md").read_text()
    assert "What was set to be fair" in page
    assert "convergence.png" in page
    assert (out / "convergence.png").stat().st_size > 10_000


def test_all_start_from_one_backbone_and_pretraining_counts(scenes: Path, tmp_path: Path) -> None:
    comparison = Comparison(request(scenes, "smca", "up-detr"), tmp_path / "out")
    comparison.run()
    assert comparison.place.warmed(0).is_file()
    assert comparison.place.head_start("up-detr", 0) > comparison.place.head_start("smca", 0) > 0
    recipes = [comparison.place.folder(name, 0).read_request() for name in ("smca", "up-detr")]
    assert recipes[0].backbone_weights == recipes[1].backbone_weights == str(comparison.place.warmed(0).resolve())
    assert recipes[1].init is not None


def test_a_comparison_goes_on_where_it_was_stopped(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second of three runs; the first is not trained again, and seeds may be added."""
    started: list[str] = []
    train = harness.train

    def interrupted(asked: TrainRequest) -> Path:
        started.append(Path(str(asked.recipe)).stem)
        if len(started) == 2:
            raise KeyboardInterrupt
        return train(asked)

    monkeypatch.setattr(harness, "train", interrupted)
    asked, out = request(scenes, "detr", "smca-head-shared"), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        Comparison(asked, out).run()
    assert rows(out)["detr"]["seeds"] == 1
    Comparison(asked, out).run()
    assert started == ["detr", "smca-head-shared", "smca-head-shared"]
    Comparison(dataclasses.replace(asked, seeds=2, models=("detr",)), out).run()
    assert started[3:] == ["detr"]
    assert rows(out)["detr"]["AP_deviation"] is not None
    with pytest.raises(OutputError, match="another comparison"):
        Comparison(dataclasses.replace(asked, epochs=3), out).run()


def test_one_process_at_a_time(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    Comparison(request(scenes, "detr"), out).run()
    before = (out / "comparison.json").read_text()
    with held(out), pytest.raises(OutputError, match="another smca compare writes"):
        Comparison(request(scenes, "detr", seeds=2), out).run()
    assert (out / "comparison.json").read_text() == before


def test_what_a_killed_comparison_left_half_done_is_done_again(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    Comparison(request(scenes, "detr"), out).run()
    (out / "pretrained" / "0").mkdir(parents=True)
    (out / "runs" / "up-detr-0").mkdir()
    (out / "runs" / "up-detr-0" / "recipe.yaml").write_text("half")
    Comparison(request(scenes, "detr", "up-detr"), out).run()
    assert rows(out)["up-detr"]["failed"] is None


def test_a_system_that_fails_is_said_and_the_others_go_on(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = harness.train

    def sometimes(asked: TrainRequest) -> Path:
        if Path(str(asked.recipe)).stem == "fcos":
            raise RuntimeError("out of\nmemory")
        return train(asked)

    monkeypatch.setattr(harness, "train", sometimes)
    out = tmp_path / "out"
    Comparison(request(scenes, "fcos", "detr"), out).run()
    table = rows(out)
    assert table["fcos"]["failed"] == "seed 0: out of memory"
    assert table["fcos"]["AP"] is None
    assert table["detr"]["failed"] is None
    assert "- fcos failed: seed 0: out of memory" in (out / "table.md").read_text()


def test_a_full_disk_stops_it(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(asked: TrainRequest) -> Path:
        try:
            raise OSError(28, "No space left on device", asked.recipe)
        except OSError as error:
            raise OutputError("cannot write the model") from error

    monkeypatch.setattr(harness, "train", full)
    with pytest.raises(OutputError, match="cannot write"):
        Comparison(request(scenes, "detr"), tmp_path / "out").run()


def test_a_part_of_train_may_be_val(scenes: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(scenes, alone)
    (alone / "val.json").unlink()
    Comparison(request(alone, "detr", val_fraction=0.25), tmp_path / "out").run()
    assert rows(tmp_path / "out")["detr"]["failed"] is None


def test_wrong_names_and_used_folders_are_refused(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'dter'.*detr.*Allowed: smca, .*tsp-rcnn"):
        Comparison(request(scenes, "dter"), tmp_path / "out")
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="no comparison"):
        Comparison(request(scenes, "detr"), tmp_path).run()
    with pytest.raises(DataError):
        Comparison(request(tmp_path / "gone", "detr"), tmp_path / "fresh").run()


@pytest.mark.parametrize("size", SIZES)
def test_what_a_size_decides_is_equal_for_all(size: str) -> None:
    recipes = [contestant(name, size) for name in CONTESTANTS]
    assert len({repr((recipe.optimisation, recipe.augmentation, recipe.image_size)) for recipe in recipes}) == 1
    configs = [recipe.config() for recipe in recipes]
    shared = ("backbone", "backbone_norm", "backbone_widths", "frozen_stages", "num_queries", "d_model")
    assert len({repr([getattr(config, name) for name in shared]) for config in configs}) == 1


def test_fairness_says_what_is_common_and_what_is_not() -> None:
    page = fairness({name: contestant(name, "tiny") for name in ("smca", "detr", "fcos")})
    assert "- `lr`: 0.0009" in page
    assert "**detr**: ours" in page
    assert "`modulation` none" in page
    assert "Its own losses." in page.split("**fcos**")[1]


def test_peak_memory_is_of_the_run_alone() -> None:
    with harness.PeakMemory() as memory:
        held = torch.ones(20_000_000)
    peak = memory.found()["peak_memory_mib"]
    assert peak is None or peak > held.nbytes / 2**20
