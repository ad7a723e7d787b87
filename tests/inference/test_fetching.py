"""URLs, of a server on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from smca.errors import DataError
from smca.inference import fetching
from smca.inference.fetching import fetched


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder; /moved leads to /a.bin, /slow never ends, /mute does not answer, /broken stops early."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.bin")
            self.end_headers()
        elif self.path == "/slow":
            self._drip()
        elif self.path == "/mute":
            time.sleep(3)
        elif self.path == "/broken":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
        else:
            super().do_GET()

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(50):
            try:
                self.wfile.write(b"x" * (1 << 16))
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "a.png").write_bytes(b"picture")
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    web.daemon_threads = True
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()


def test_a_file_and_its_kind_and_nothing_left(server: str) -> None:
    with fetched(f"{server}/a.bin") as (path, kind):
        assert path.read_bytes() == bytes(range(256)) * 1000
        assert kind == "application/octet-stream"
    assert not path.exists()
    with fetched(f"{server}/a.png") as (path, kind):
        assert kind == "image/png"
    with fetched(f"{server}/moved") as (path, _):
        assert path.stat().st_size == 256_000


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gone.png", {}, r"cannot fetch .*gone\.png: the server answers 404 File not found"),
        ("a.bin", {"most_bytes": 1000}, "more than 1,000 bytes"),
        ("slow", {"most_seconds": 0.2}, "it takes too long"),
        ("broken", {}, "the connection broke off"),
    ],
)
def test_what_does_not_come_is_said(server: str, name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught, fetched(f"{server}/{name}", **options):
        pass
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_answer_is_given_up(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SECONDS_TO_ANSWER", 0.2)
    with pytest.raises(DataError, match=r"no answer within 0\.2 seconds"), fetched(f"{server}/mute"):
        pass


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/a.png", "http://no-such-host.invalid/a.png", "https://127.0.0.1:9/"]
)
def test_no_network_is_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(DataError, match=r"^cannot fetch \S+: no connection to the server[^\n]+$"), fetched(url):
        pass


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a.png", "rtsp://camera/1", "http:///a.png"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(DataError, match=r"cannot fetch"), fetched(url):
        pass
