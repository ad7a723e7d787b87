"""Runs the application until it is told to stop: a socket first, then the model, then the address in one line.

SIGTERM and Ctrl-C let it finish what it has. Raises ConfigurationError for an address that cannot be had.
"""

from __future__ import annotations

import errno
import ipaddress
import math
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from smca.deployment.serving.app import build_app
from smca.deployment.serving.engine import Engine
from smca.deployment.serving.limits import Limits
from smca.deployment.serving.memory import share
from smca.deployment.serving.metrics import Metrics
from smca.deployment.serving.protocol import Protocol
from smca.deployment.serving.service import Service
from smca.errors import ConfigurationError
from smca.inference.loading import Precision, load


def serve(
    source: Path,
    host: str,
    port: int,
    limits: Limits,
    *,
    device: str | None = None,
    precision: Precision = "fp32",
    say: Callable[[str], None],
) -> None:
    """Serve a model; `say` gets the address once it answers. Raises KeyboardInterrupt after Ctrl-C."""
    listener = listen(host, port)
    with listener:
        share()
        engine = Engine(load(source, device, precision), source)
        service = Service(engine, limits, Metrics())
        # uvicorn raises the signal again once it has finished; a shell's background job begins with SIGINT ignored.
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        server_of(service, lambda: say(address(listener))).run(sockets=[listener])


def server_of(service: Service, ready: Callable[[], None]) -> uvicorn.Server:
    """The HTTP server around a service; `ready` is called once it listens."""
    seconds = service.limits.seconds
    config = uvicorn.Config(
        build_app(service),
        http=type("Protocol", (Protocol,), {"patience": seconds}),
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(seconds) + 1,
    )
    return _Server(config, ready)


class _Server(uvicorn.Server):
    """Says so when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 means any free one."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.set_inheritable(False)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} of {host} is in use; allowed: another --port, or --port 0 for any that is free"
            raise ConfigurationError(reason) from error
        raise ConfigurationError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error
    return listener


def address(listener: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
