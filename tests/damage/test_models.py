"""Model folders of strangers: what is let in predicts, the rest is refused in one line, and nothing in them is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smca.errors import ModelError
from smca.inference.loading import load
from tests.damage.models import CONFIG, HEADERS, MORE, copied, damages, use_model
from tests.damage.trials import DEFECT, watched
from tests.damage.users import Guard
from tests.inference.small_model import save_small_model

EVERY = 97
LETS_IN = {
    "code for our type",
    "a kernel of a hub",
    "a quantiser",
    "another file to read",
    "tuples for outputs",
    "half precision",
    "no such precision",
}


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    save_small_model(folder, ("cat", "dog", "cow"))
    return folder


@pytest.mark.slow
def test_no_damaged_folder_does_harm(sound_folder: Path, tmp_path: Path, guard: Guard) -> None:
    known = list(damages(sound_folder))
    fields = [one for one in known if one[0].startswith((CONFIG, "preprocessor"))]
    others = [one for one in known if one not in fields and not one[0].startswith("weights changed at random")]
    for title, ruin in [*fields[::EVERY], *others]:
        folder = copied(sound_folder, tmp_path / "copy", ruin)
        outcome = watched(lambda folder=folder: use_model(folder), guard, tmp_path / "out")
        assert not outcome.startswith(DEFECT), (title, outcome)
        if title in MORE:
            assert outcome == ("read" if title in LETS_IN else "error"), title
        if title.removeprefix("weights with ") in HEADERS or "pickle" in title:
            assert outcome == "error", title


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"num_queries": 10**9}, "num_queries is 1000000000; allowed: 1 to 20000"),
        ({"decoder_layers": 10**9}, "decoder_layers is 1000000000; allowed: 1 to 100"),
        ({"d_model": 10**9}, "d_model is 1000000000; allowed: 1 to 8192"),
        ({"encoder": ["intra"] * 10_000}, "encoder has 10000 blocks; allowed: up to 100"),
        ({"backbone_blocks": [1, 10**9, 1]}, "allowed: 0 to 100 each"),
        ({"d_model": 8192, "ffn_dim": 65_536, "decoder_layers": 100}, "about 1.7e+11 weights; allowed: 2.0e+09"),
        ({"id2label": {"0": "a", "7": "b"}}, "id2label must have the numbers 0 to 1"),
    ],
)
def test_too_much_is_refused_with_the_value_and_the_limit(
    asked: dict[str, object], said: str, sound_folder: Path, tmp_path: Path
) -> None:
    def ask(folder: Path) -> None:
        (folder / CONFIG).write_text(json.dumps(json.loads((folder / CONFIG).read_text()) | asked))

    with pytest.raises(ModelError) as caught:
        load(copied(sound_folder, tmp_path / "copy", ask))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
