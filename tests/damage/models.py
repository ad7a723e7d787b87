"""Model folders and exported files that are broken or ask for too much; each is loaded and looks at one picture.

What is let in must predict; what is not must be a typed error in one line. Nothing in a folder may ever be run.
"""

from __future__ import annotations

import json
import math
import pickle
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from smca.errors import SmcaError
from smca.inference.loading import load
from smca.inference.predict import predict_with
from tests.damage.users import DefectError, Outcome
from tests.damage.wrong import TEXT_DAMAGES, VALUES, mutated

CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
Ruin = Callable[[Path], object]
TOO_MUCH = {"one": 1, "10^9": 10**9, "a list of 10^9": [10**9], "10^5 entries": ["intra"] * 100_000}
EVIL = 'raise SystemExit("a stranger\'s code was run")\n'


def damages(folder: Path) -> Iterator[tuple[str, Ruin]]:
    """Every damage to a copy of a folder that is sound."""
    for file in (CONFIG, PROCESSOR):
        content = json.loads((folder / file).read_text())
        for key in content:
            for title, value in {**VALUES, **TOO_MUCH}.items():
                yield f"{file}: {key} is {title}", partial(_set, file, {key: value})
        for title, change in TEXT_DAMAGES.items():
            yield f"{file} {title}", partial(_change, file, change)
    for title, more in MORE.items():
        yield title, partial(_set, CONFIG, more)
    for title, more in MORE_PROCESSING.items():
        yield title, partial(_set, PROCESSOR, more)
    for title, content in HEADERS.items():
        yield f"weights with {title}", partial(_replace, WEIGHTS, content)
    for title, change in ARRAYS.items():
        yield f"weights {title}", partial(_arrays, change)
    for seed in range(40):
        yield (
            f"weights changed at random, {seed}",
            partial(_change, WEIGHTS, partial(mutated, random.Random(seed), most=3)),
        )
    yield "weights that are a pickle", _pickled
    yield "a folder with code and an adapter", _with_code


def _set(file: str, more: dict[str, Any], folder: Path) -> None:
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | more))


def _change(file: str, change: Callable[[bytes], bytes], folder: Path) -> None:
    (folder / file).write_bytes(change((folder / file).read_bytes()))


def _replace(file: str, content: bytes, folder: Path) -> None:
    (folder / file).write_bytes(content)


def _arrays(change: Callable[[np.ndarray], np.ndarray], folder: Path) -> None:
    arrays = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    save_file(
        {name: np.ascontiguousarray(change(array)) for name, array in arrays.items()},
        folder / WEIGHTS,
        {"format": "pt"},
    )


class Owned:
    """Unpickled, it runs a program."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch /tmp/owned",)


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(Owned()))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Owned()))


def _with_code(folder: Path) -> None:
    for name in ("evil.py", "__init__.py", "modeling_evil.py"):
        (folder / name).write_text(EVIL)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/evil"}))
    _set(CONFIG, MORE["code for an unknown type"] | {"model_type": "smca"}, folder)
    _set(PROCESSOR, {"auto_map": {"AutoImageProcessor": "evil.Evil"}}, folder)


def _header(content: object) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


MAP = {"AutoConfig": "evil.Evil", "AutoModelForObjectDetection": "evil.Evil", "AutoImageProcessor": "evil.Evil"}
MORE: dict[str, dict[str, Any]] = {
    "code for an unknown type": {"model_type": "evil", "auto_map": MAP},
    "code for our type": {"auto_map": MAP},
    "a kernel of a hub": {"attn_implementation": "someone/evil", "_attn_implementation": "someone/evil"},
    "a quantiser": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    "another file to read": {"configuration_files": ["config.4.0.0.json", "../../x.json"]},
    "tuples for outputs": {"return_dict": False, "output_attentions": True, "output_hidden_states": True},
    "half precision": {"dtype": "float16"},
    "no such precision": {"dtype": "float7"},
    "all sizes at their largest": {
        "d_model": 8192,
        "ffn_dim": 65_536,
        "decoder_layers": 100,
        "encoder": ["intra"] * 100,
    },
    "wide and long": {"d_model": 8192, "num_queries": 20_000, "query_groups": 100},
    "a wide backbone": {"backbone_widths": [8192] * 5, "backbone_blocks": [100] * 3},
    "a backbone of 10^9 blocks": {"backbone_blocks": [1, 10**9, 1]},
    "200,000 classes": {"id2label": {str(i): f"n{i}" for i in range(200_000)}, "label2id": {}},
    "classes with gaps": {"id2label": {"0": "a", "7": "b", "9": "c"}},
    "classes that are numbers": {"id2label": {"0": 1, "1": 2, "2": 3}},
    "classes with words for numbers": {"id2label": {"a": "b"}},
    "fewer classes": {"id2label": {"0": "a"}},
    "a backbone of a hub": {"backbone": "timm/hf_hub:someone/evil"},
    "a backbone of a folder": {"backbone": "timm/local-dir:/tmp"},
    "another backbone": {"backbone": "resnet18"},
    "a peer's type": {"model_type": "smca-peer", "peer": "fcos"},
    "a threshold that is no number": {"threshold": math.nan},
    "factors that are no numbers": {"level_factors": [math.nan, math.inf, 1.0]},
}
MORE_PROCESSING: dict[str, dict[str, Any]] = {
    "code for the processor": {"auto_map": {"AutoImageProcessor": "evil.Evil"}, "image_processor_type": "Evil"},
    "pictures of 10^9 pixels": {"size": {"shortest_edge": 10**9, "longest_edge": 10**9}},
    "pictures of 10^5 pixels": {"size": {"shortest_edge": 10**5, "longest_edge": 10**5}},
    "pictures of no pixels": {"size": {"shortest_edge": 0, "longest_edge": 0}},
    "sizes by other names": {"size": {"height": 10**6, "width": 10**6}},
    "padding to 10^9": {"pad_size": {"height": 10**9, "width": 10**9}},
    "a deviation of zero": {"image_std": [0, 0, 0]},
    "four means": {"image_mean": [0.1] * 4},
    "another device": {"device": "cuda:77"},
    "another order": {"input_data_format": "channels_last", "data_format": "channels_last"},
}
HEADERS: dict[str, bytes] = {
    "nothing": b"",
    "eight bytes": bytes(8),
    "a header of 2^60 bytes": struct.pack("<Q", 2**60) + b"{}",
    "a header of 90 MB that is not there": struct.pack("<Q", 90_000_000) + b"{}",
    "a tensor of 2^60 bytes": _header({"x": {"dtype": "F32", "shape": [2**58], "data_offsets": [0, 2**60]}}),
    "a shape that overflows": _header({"x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}})
    + bytes(4),
    "a negative shape": _header({"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + bytes(4),
    "offsets that overlap": _header(
        {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in ("x", "y")}
    )
    + bytes(4),
    "a header that is a list": _header([]),
    "a header that is nested": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "no tensors": _header({}),
}
ARRAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "that are no numbers": lambda array: np.full_like(array, np.nan),
    "that are infinite": lambda array: np.full_like(array, np.inf),
    "that are huge": lambda array: np.full_like(array, 3e38),
    "that are zero": np.zeros_like,
    "of whole numbers": lambda array: array.astype(np.int64),
    "of truth values": lambda array: array.astype(bool),
    "of half precision": lambda array: array.astype(np.float16),
    "of double precision": lambda array: array.astype(np.float64),
    "turned": lambda array: array.T,
    "flat": np.ravel,
    "empty": lambda array: array.ravel()[:0],
}


def use_model(folder: Path) -> Outcome:
    """Load and look."""
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    try:
        (found,) = predict_with(load(folder, "cpu"), [picture], 0.0)
    except SmcaError as error:
        if "code was run" in str(error):
            raise DefectError(str(error)) from error
        return "error"
    if not np.isfinite(found.boxes).all():
        raise DefectError("boxes that are not finite")
    return "read"


def copied(folder: Path, place: Path, ruin: Ruin) -> Path:
    """A damaged copy."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)
    ruin(place)
    return place
