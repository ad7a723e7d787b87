"""The server on a real port: slow, broken and vanishing clients, signals, and an address that is taken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from smca.cli import serve
from smca.cli.main import main
from smca.deployment.serving.engine import Engine
from smca.deployment.serving.limits import Limits
from tests.deployment.serving.conftest import encoded, running
from tests.inference.small_model import save_small_model

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
BODY = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + encoded(9, 9) + b"\r\n--b--\r\n"
)


@pytest.fixture(scope="module")
def port(engine: Engine) -> Iterator[int]:
    with running(engine, Limits(megabytes=1, seconds=1.5)) as place:
        yield int(place.rsplit(":", 1)[1].strip("/"))


def talk(port: int, *parts: bytes) -> bytes:
    """What the server says until it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def healthy(port: int) -> bool:
    with urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
        return answer.status == 200


def test_who_says_nothing_or_half_a_head_is_hung_up_on(port: int) -> None:
    for said in (b"", HEAD):
        with contextlib.suppress(ConnectionResetError):
            assert talk(port, said) == b""
    assert healthy(port)


def test_a_slow_upload_is_refused(port: int) -> None:
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    answer = talk(port, head + BODY[:50])
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"upload took longer" in answer
    assert healthy(port)


def test_who_sends_too_much_still_hears_why(port: int) -> None:
    request = Request(f"http://127.0.0.1:{port}/predict", bytes(30_000_000), {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as refusal:
        urlopen(request, timeout=10)
    assert refusal.value.code == 413
    assert "1 MB" in json.load(refusal.value)["error"]


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\0\x01\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 99_999]
)
def test_what_is_not_http_is_refused_in_json(port: int, noise: bytes) -> None:
    answer = talk(port, noise)
    assert answer.startswith(b"HTTP/1.1 400")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert healthy(port)


def test_clients_that_vanish_leave_their_places_free(port: int) -> None:
    for _ in range(Limits().waiting + 1):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(HEAD + b"Content-Length: 5000\r\n\r\n" + BODY[:50])
    request = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    patience = time.monotonic() + 20  # until the server has seen them go
    while b" 503 " in (answer := talk(port, request))[:20] and time.monotonic() < patience:
        time.sleep(0.1)
    assert b" 200 " in answer[:20]


def test_a_port_in_use_is_one_line_and_status_2(port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path), "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"smca: port {port} of 127.0.0.1 is in use")
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [["--port", "70000"], ["--host", "no.such.host.invalid"], ["--port", "0"]])
def test_wrong_addresses_and_models_are_refused(words: list[str], tmp_path: Path) -> None:
    assert main(["serve", str(tmp_path / "none"), *words]) == 2


@pytest.mark.slow
def test_it_says_its_address_answers_and_stops_when_told(tmp_path: Path) -> None:
    """SIGTERM is an end like any other, Ctrl-C an interruption; neither leaves a file behind."""
    save_small_model(tmp_path / "model", ("cat",))
    work = tmp_path / "work"
    work.mkdir()
    words = [sys.executable, "-m", "smca", "serve", str(tmp_path / "model"), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(words, cwd=work, env=environment, stdout=subprocess.PIPE, text=True)

    with start() as first, start() as second:
        for process, sign, status in ((first, signal.SIGTERM, 0), (second, signal.SIGINT, 130)):
            assert process.stdout
            place = process.stdout.readline().strip()
            with urlopen(f"{place}health", timeout=30) as answer:
                assert answer.status == 200
            process.send_signal(sign)
            assert process.stdout.read() == ""
            assert process.wait(30) == status
    assert list(work.iterdir()) == []


def test_a_package_that_is_missing_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "NEEDED", ("fastapi", "no_such_package"))
    assert main(["serve", "anything"]) == 2
    assert "smca serve needs no_such_package: pip install 'smca-detr[serve]'" in capsys.readouterr().err
