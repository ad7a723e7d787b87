"""Files of weights: what is read, and what is refused in one line without running anything."""

from __future__ import annotations

import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from smca.errors import WeightsError
from smca.interchange.checkpoint import read_checkpoint

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


class Harmful:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("stored", [WEIGHTS, {"model": WEIGHTS, "epoch": 3}])
def test_tensors_are_read_whether_wrapped_or_not(stored: dict[str, Any], tmp_path: Path) -> None:
    torch.save(stored, tmp_path / "c.pth")
    found = read_checkpoint(tmp_path / "c.pth")
    assert found.tensors.keys() == WEIGHTS.keys()
    assert torch.equal(found.tensors["a.weight"], WEIGHTS["a.weight"])
    assert found.arguments == {}


def test_arguments_of_the_training_script_are_read(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS, "args": Namespace(nheads=8, dynamic_scale="type3")}, tmp_path / "c.pth")
    assert read_checkpoint(tmp_path / "c.pth").arguments == {"nheads": 8, "dynamic_scale": "type3"}


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "c.safetensors")
    assert read_checkpoint(tmp_path / "c.safetensors").tensors.keys() == WEIGHTS.keys()


def truncated(path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:-700])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("page.pth", lambda path: path.write_text("\n<!DOCTYPE html><html>404</html>"), "is a web page"),
        ("page.safetensors", lambda path: path.write_text("<html>404</html>"), "is a web page"),
        ("cut.pth", truncated, "cannot read weights from .*cut.pth: it is"),
        ("cut.safetensors", lambda path: path.write_bytes(b"\x10\0\0\0\0\0\0\0{}"), "it is damaged or incomplete"),
        ("empty.pth", lambda path: path.touch(), "cannot read weights from .*empty.pth: it is"),
        ("text.pth", lambda path: path.write_text("weights"), "it is not a checkpoint, or only a part of one"),
        ("list.pth", lambda path: torch.save([1, 2], path), "holds a list, not tensors by name"),
        ("none.pth", lambda path: torch.save({"epoch": 1}, path), "holds no tensors by name, only epoch"),
        ("one.pth", lambda path: torch.save(torch.zeros(3), path), "holds a Tensor, not tensors by name"),
        ("folder.pth", lambda path: path.mkdir(), "cannot read .*folder.pth: Is a directory"),
        ("nowhere.pth", lambda _: None, "cannot read .*nowhere.pth: No such file"),
    ],
)
def test_what_is_no_checkpoint_is_said_in_one_line(name: str, write: Any, message: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    with pytest.raises(WeightsError, match=message) as caught:
        read_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("odd", "kind"),
    [
        (torch.ones(2, 3, dtype=torch.bool), "bool, strided"),
        (torch.ones(2, 3, dtype=torch.complex64), "complex64, strided"),
        (torch.eye(3).to_sparse(), "float32, sparse_coo"),
        (torch.ones(2, 3, device="meta"), "on meta"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_refused(odd: torch.Tensor, kind: str, tmp_path: Path) -> None:
    torch.save({"model": {**WEIGHTS, "b": odd}}, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=f"holds b as .*{kind}.*; allowed: real numbers"):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_pickle_that_needs_more_is_refused_unread(save: Any, tmp_path: Path) -> None:
    save({"model": WEIGHTS if save is torch.save else {}, "args": Harmful(tmp_path / "harm")}, tmp_path / "c.pth")
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(tmp_path / "c.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


def test_the_refusal_names_what_the_pickle_wanted(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS, "args": Harmful(tmp_path / "harm")}, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=r"it needs \S*(Path|getattr)\S*; only tensors"):
        read_checkpoint(tmp_path / "c.pth")
