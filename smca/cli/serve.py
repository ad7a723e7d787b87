"""`smca serve`: a model over HTTP, with a web page."""

from __future__ import annotations

import importlib.util
from argparse import Namespace
from pathlib import Path

from smca.cli.parsing import Parser, above, at_least, port
from smca.cli.process import say, start
from smca.errors import ConfigurationError

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def add(parser: Parser) -> None:
    """Add the command to `parser`."""
    command = parser.add_command(
        "serve",
        "Serve a model over HTTP: POST /predict and /explain, GET /health and /metrics, and a web page at /. The last "
        "line printed is the address; Ctrl-C stops it. Only this machine is served; --host 0.0.0.0 opens it to the "
        "network, without passwords or encryption.",
    )
    command.add_argument("model", type=Path, metavar="MODEL", help="model folder or exported file")
    command.add_argument("--port", type=port, default=8000, metavar="P", help="0 for any that is free")
    command.add_argument("--host", default="127.0.0.1", metavar="H", help="address to listen at")
    command.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    command.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16 is faster and rounds")
    _add_limits(command)
    command.set_defaults(run=run)


def _add_limits(command: Parser) -> None:
    group = command.add_argument_group("limits (what is beyond them is refused with a reason)")
    group.add_argument("--batch", type=at_least(int, 1), default=8, metavar="N", help="images at once, at most")
    group.add_argument("--max-megabytes", type=above(0), default=20.0, metavar="N", help="of one request")
    group.add_argument("--max-pixels", type=at_least(int, 1), default=50_000_000, metavar="N", help="of one picture")
    group.add_argument("--max-waiting", type=at_least(int, 1), default=128, metavar="N", help="requests at one time")
    group.add_argument("--timeout", type=above(0), default=30.0, metavar="S", help="seconds for upload and answer")


def run(arguments: Namespace) -> None:
    """Serve until stopped."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"smca serve needs {', '.join(missing)}: pip install 'smca-detr[serve]'")
    start()
    from smca.deployment.serving.limits import Limits
    from smca.deployment.serving.server import serve

    limits = Limits(
        megabytes=arguments.max_megabytes,
        pixels=arguments.max_pixels,
        seconds=arguments.timeout,
        waiting=arguments.max_waiting,
        batch=arguments.batch,
    )
    serve(
        arguments.model,
        arguments.host,
        arguments.port,
        limits,
        device=arguments.device,
        precision=arguments.precision,
        say=say,
    )
