"""A small model behind the application, in memory and on a real port."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from smca.deployment.serving.app import build_app
from smca.deployment.serving.engine import Engine
from smca.deployment.serving.limits import Limits
from smca.deployment.serving.metrics import Metrics
from smca.deployment.serving.server import address, listen, server_of
from smca.deployment.serving.service import Service
from smca.inference.loading import load
from tests.inference.small_model import save_small_model

NAMES = ("cat", "dog", "<b>cow</b>")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("served")
    save_small_model(folder, NAMES)
    return load(folder)


@pytest.fixture(scope="session")
def engine(model: Any) -> Engine:
    return Engine(model, Path("runs/mine/best"))


@pytest.fixture(scope="session")
def client(engine: Engine) -> Iterator[TestClient]:
    with TestClient(build_app(Service(engine, Limits(), Metrics())), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client_of(engine: Engine) -> Iterator[Callable[..., TestClient]]:
    """Clients of servers with limits, and perhaps an engine, of their own."""
    open_clients: list[TestClient] = []

    def make(limits: Limits, worker: Any = engine) -> TestClient:
        client = TestClient(build_app(Service(worker, limits, Metrics())), raise_server_exceptions=False)
        open_clients.append(client)
        return client.__enter__()

    yield make
    for client in open_clients:
        client.__exit__(None, None, None)


@contextmanager
def running(engine: Any, limits: Limits) -> Iterator[str]:
    """The address of a server on a free port."""
    listener = listen("127.0.0.1", 0)
    ready = threading.Event()
    server = server_of(Service(engine, limits, Metrics()), ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    place = address(listener)
    thread.start()
    assert ready.wait(10)
    yield place
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def encoded(height: int, width: int, kind: str = "PNG", seed: int = 0) -> bytes:
    """The file of a noisy picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of some bytes that promises side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
