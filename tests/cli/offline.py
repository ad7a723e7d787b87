"""Commands one after another where there is no network but loopback, and whom each tried to reach:

unshare -rn python -m tests.cli.offline FOLDER

Writes JSON, [{"words", "status", "err", "asked", "unreached"}]. asked: the addresses and names, loopback's left out,
that Python code wanted to connect to or to be told; unreached: how often the kernel had no way to an address, which
counts native code and other processes too. Works on nothing outside FOLDER.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from smca.cli.main import main
from tests.training.runs import SMALL

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
TRAIN = ["train", "d", "--epochs", "1", "--workers", "0", "--batch", "4", "--image-size", "64", "--seed", "0"]
TINY = ["--recipe", "smca-tiny", "--set", *SMALL]
COMMANDS = [
    ["data", "scenes", "d", "--images", "8", "--size", "64x64"],
    ["data", "check", "d"],
    [*TRAIN, *TINY, "--backbone-weights", "none", "--out", "run"],
    ["export", "run/best", "--format", "onnx", "--out", "m.onnx"],
    ["train", "d", "--init", "run/best", "--epochs", "1", "--workers", "0", "--out", "tuned"],
    ["eval", "run/best", "d", "--workers", "0"],
    ["predict", "run/best", "d/images", "--out", "p", "--batch", "3"],
    ["predict", "m.onnx", "d/images", "--out", "q"],
    ["serve", "run/best"],
    # What asks for the network says in one line that there is none.
    [*TRAIN, "--init", "someone/model", "--out", "no1"],
    [*TRAIN, "--recipe", "smca-r50", "--out", "no2"],
    ["predict", "run/best", "https://example.com/a.jpg", "--out", "no3"],
]


def loopback_up() -> None:
    """What `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        flags = struct.unpack_from("16sh", fcntl.ioctl(door, SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0)))[1]
        fcntl.ioctl(door, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def listen_in(asked: list[str]) -> None:
    """Note whom Python code of this process wants to reach from here on."""

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            place = arguments[1][0] if isinstance(arguments[1], tuple) else None
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            place = arguments[0]
        else:
            return
        name = place.decode() if isinstance(place, bytes) else str(place or "localhost")
        if name not in ("localhost", "::1") and not name.startswith("127."):
            asked.append(name)

    sys.addaudithook(hear)


def without_route() -> int:
    """How many packets and connections of this network namespace had no way to go."""
    lines = Path("/proc/net/snmp").read_text().splitlines()
    head, values = (line.split() for line in lines if line.startswith("Ip:"))
    return int(values[head.index("OutNoRoutes")])


def ask_and_stop(port: int, answers: list[int]) -> None:
    """As a client: wait until the server answers, have a picture looked at, and press Ctrl-C."""
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urlopen(f"{address}/health", timeout=30).close()
            break
        except URLError:
            time.sleep(0.1)
    picture = next(Path("d/images").iterdir()).read_bytes()
    body = json.dumps({"image": base64.b64encode(picture).decode()}).encode()
    for request in (Request(f"{address}/predict", body, {"Content-Type": "application/json"}), f"{address}/"):
        with urlopen(request, timeout=60) as answer:
            answers.append(answer.status)
    os.kill(os.getpid(), signal.SIGINT)


def serve(words: list[str]) -> int:
    """The command's status, if everything was answered."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    answers: list[int] = []
    client = threading.Thread(target=ask_and_stop, args=(port, answers), daemon=True)
    client.start()
    status = main([*words, "--port", str(port)])
    return status if answers == [200, 200] else 1


def run_all() -> list[dict[str, Any]]:
    """Every command in turn."""
    asked: list[str] = []
    listen_in(asked)
    found = []
    for words in COMMANDS:
        asked.clear()
        before = without_route()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = serve(words) if words[0] == "serve" else main(words)
        unreached = without_route() - before
        found.append(
            {"words": words, "status": status, "err": err.getvalue(), "asked": [*asked], "unreached": unreached}
        )
    return found


if __name__ == "__main__":
    assert [name for _, name in socket.if_nameindex()] == ["lo"], "run me under: unshare -rn"
    os.chdir(sys.argv[1])
    loopback_up()
    sys.stdout.write(json.dumps(run_all()))
