"""What a file says of itself: it comes back as it was, and what a stranger wrote is refused in one line."""

from __future__ import annotations

import json

import pytest

from smca.errors import ModelError
from smca.inference.manifest import PREFIX, Manifest, Sides
from smca.modeling.image_processing import SmcaImageProcessor
from tests.modeling.tiny import small_config

NAMES = ("cat", "größe", 'a "b"\n<c>&', "cat2")


def texts() -> dict[str, str]:
    config = small_config(num_labels=4, id2label=dict(enumerate(NAMES)), threshold=0.123456789, class_loss="softmax")
    processor = SmcaImageProcessor.suited_to(config, {"shortest_edge": 64, "longest_edge": 90})
    return Manifest(config, processor, "int8", Sides(32, 96, True)).to_texts()


def test_it_comes_back() -> None:
    told = Manifest.from_texts(texts(), "m.onnx")
    assert told.config.id2label == dict(enumerate(NAMES))
    assert told.config.threshold == 0.123456789
    assert told.config.class_outputs == 5
    assert told.config.levels == small_config().levels
    assert (told.precision, told.sides) == ("int8", Sides(32, 96, True))
    assert told.processor.class_loss == "softmax"
    assert told.processor.size["longest_edge"] == 90
    assert told.to_texts() == texts()


@pytest.mark.parametrize("name", texts())
def test_every_text_is_needed(name: str) -> None:
    with pytest.raises(ModelError, match=f"was not written by `smca export`: its metadata has no {name}"):
        Manifest.from_texts({key: text for key, text in texts().items() if key != name}, "m.onnx")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("format_version", "2"),
        ("format_version", "x" * 10_000),
        ("model_type", "bert"),
        ("class_names", "[]"),
        ("class_names", '{"0": "a"}'),
        ("class_names", "[1, 2]"),
        ("class_names", "[" * 100_000),
        ("threshold", "nan"),
        ("threshold", "2"),
        ("threshold", "high"),
        ("preprocessing", "[]"),
        ("preprocessing", "{}"),
        ("preprocessing", json.dumps({"size": {"shortest_edge": 10**9, "longest_edge": 10**9}})),
        ("preprocessing", json.dumps({"size": {"shortest_edge": 8, "longest_edge": 8}, "image_mean": [0, 0]})),
        ("configuration", "{"),
        ("configuration", "null"),
        ("configuration", '{"d_model": -1}'),
        ("configuration", '{"decoder_layers": 1e99}'),
        ("precision", "fp4"),
        ("sides", '{"multiple": 0, "smallest": 1, "one_size": false}'),
        ("sides", '{"multiple": 1, "smallest": 1000000, "one_size": false}'),
        ("sides", "{}"),
    ],
)
def test_a_wrong_text_is_one_line(name: str, text: str) -> None:
    with pytest.raises(ModelError) as caught:
        Manifest.from_texts({**texts(), PREFIX + name: text}, "m.onnx")
    assert "m.onnx" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_a_deviation_of_zero_is_refused() -> None:
    content = json.loads(texts()["smca.preprocessing"]) | {"image_std": [0.2, 0.0, 0.2]}
    with pytest.raises(ModelError, match="image_std"):
        Manifest.from_texts({**texts(), "smca.preprocessing": json.dumps(content)}, "m.onnx")
