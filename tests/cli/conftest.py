from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

from smca.cli.main import main
from smca.data.scenes import make_scenes
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.sizes import ImageSize
from smca.telemetry import SWITCHES

ENVIRONMENT = (
    *SWITCHES,
    "HF_HUB_DISABLE_PROGRESS_BARS",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_VERBOSITY",
)
Smca = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def as_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands set these for their process before transformers reads them; here it has been read before."""
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()


@pytest.fixture
def smca(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Smca:
    """Run a command in an empty folder: words -> exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> tuple[int, str, str]:
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set: 4 images to train on, 4 held back."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    make_scenes(folder, images=8, seed=0, size=ImageSize(height=96, width=128))
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained model with the ten digits as classes."""
    folder = tmp_path_factory.mktemp("model")
    names = {i: str(i) for i in range(10)}
    torch.manual_seed(0)
    config = SmcaConfig(
        backbone="plain",
        backbone_widths=(8, 8, 8, 8, 8),
        backbone_blocks=(1, 1, 1),
        d_model=16,
        num_heads=2,
        ffn_dim=16,
        decoder_layers=2,
        num_queries=12,
        id2label=names,
        label2id={name: i for i, name in names.items()},
    )
    SmcaForObjectDetection(config).save_pretrained(folder)
    SmcaImageProcessor(size={"shortest_edge": 96, "longest_edge": 160}).save_pretrained(folder)
    return folder
