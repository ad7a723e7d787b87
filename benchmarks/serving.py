"""Many clients at once against `smca serve`: requests a second, latency, errors, and whether memory grows.

    python benchmarks/serving.py runs/quickstart/run/best runs/quickstart/data/images

Each client sends one picture after the other over its own connection. Writes docs/results/serving.json and serving.md.
Clients and server share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from smca.data.images import read_header
from smca.files import write_atomically, write_json
from smca.machine import machine

WARM_UP = 5.0


class Load:
    """What the clients saw: seconds of each answered request, how many of each status, memory by the second."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.memory: list[float] = []

    async def client(
        self, address: str, pictures: Sequence[bytes], numbers: Iterator[int], fields: dict[str, str] | None = None
    ) -> None:
        """One connection that asks for one picture after the other, as long as there are numbers."""
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            for number in numbers:
                begun = time.monotonic()
                try:
                    picture = pictures[number % len(pictures)]
                    answer = await client.post("/predict", files={"image": ("picture.jpg", picture)}, data=fields)
                    self.statuses[str(answer.status_code)] += 1
                except httpx2.HTTPError as error:
                    self.statuses[type(error).__name__] += 1
                self.seconds.append(time.monotonic() - begun)

    async def watch(self, address: str, end: float) -> None:
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            while time.monotonic() < end:
                self.memory.append(metric((await client.get("/metrics")).text, "process_resident_memory_bytes") / 1e6)
                await asyncio.sleep(1)


async def load(address: str, pictures: Sequence[bytes], clients: int, seconds: float) -> Load:
    """All clients for so long."""
    seen, end = Load(), time.monotonic() + seconds

    def until_the_end(start: int) -> Iterator[int]:
        return itertools.takewhile(lambda _: time.monotonic() < end, itertools.count(start))

    work = (seen.client(address, pictures, until_the_end(number)) for number in range(clients))
    await asyncio.gather(seen.watch(address, end), *work)
    return seen


@contextmanager
def started(model: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its address; it is gone when the block ends."""
    words = [sys.executable, "-m", "smca", "serve", str(model), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server, server.stdout.readline().strip() if server.stdout else ""
        finally:
            server.terminate()


def measure(model: Path, folder: Path, clients: int, seconds: float) -> dict[str, Any]:
    """Start a server, warm it up, load it, stop it."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())[:64]
    pictures = [path.read_bytes() for path in paths]
    with started(model) as (server, address):
        asyncio.run(load(address, pictures, clients, WARM_UP))
        begun = time.monotonic()
        seen = asyncio.run(load(address, pictures, clients, seconds))
        took = time.monotonic() - begun
        text = httpx2.get(f"{address}metrics").text
        server.terminate()
        status = server.wait(60)
    milliseconds = np.array(seen.seconds) * 1000
    third = max(1, len(seen.memory) // 3)
    return {
        "model": "/".join(model.resolve().parts[-3:]),
        "pictures": f"{len(paths)} of {read_header(paths[0]).size.width} x {read_header(paths[0]).size.height} pixels",
        "clients": clients,
        "seconds": round(took, 1),
        "requests": len(seen.seconds),
        "requests_per_second": round(len(seen.seconds) / took, 1),
        "p50_ms": round(float(np.percentile(milliseconds, 50)), 1),
        "p99_ms": round(float(np.percentile(milliseconds, 99)), 1),
        "images_per_batch": round(metric(text, "smca_batch_images_sum") / metric(text, "smca_batch_images_count"), 2),
        "errors": {status: count for status, count in seen.statuses.items() if status != "200"},
        "memory_mb": {
            "start": round(seen.memory[0]),
            "first_third": round(float(np.mean(seen.memory[:third]))),
            "last_third": round(float(np.mean(seen.memory[-third:]))),
            "end": round(seen.memory[-1]),
        },
        "exit_status": status,
        **machine(),
    }


def report(results: dict[str, Any]) -> str:
    """The numbers as a page."""
    memory = results["memory_mb"]
    rows = {
        "model, pictures": f"{results['model']}, {results['pictures']}",
        "clients, seconds": f"{results['clients']}, {results['seconds']}",
        "requests": f"{results['requests']}, {results['requests_per_second']} a second",
        "latency": f"p50 {results['p50_ms']} ms, p99 {results['p99_ms']} ms",
        "images a batch": results["images_per_batch"],
        "errors": results["errors"] or "none",
        "server's memory, MB": f"{memory['start']} at the start, {memory['first_third']} in the first third, "
        f"{memory['last_third']} in the last, {memory['end']} at the end",
        "machine, date": f"{results['machine']}, {results['date']}",
        "note": results["note"] or "nothing else ran",
    }
    head = (
        "# Serving\n\nWritten by `python benchmarks/serving.py MODEL PICTURES`. Clients and server share the machine;\n"
        f"each client sends one picture after the other. The first {WARM_UP:g} seconds do not count.\n\n"
        "| | |\n|---|---|\n"
    )
    return head + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def metric(text: str, name: str) -> float:
    """A number of the server's /metrics; NaN where there is none."""
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else float("nan")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, help="folder of pictures")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--note", default="", help="what else ran on the machine")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    numbers = {**measure(options.model, options.pictures, options.clients, options.seconds), "note": options.note}
    write_json(options.out / "serving.json", numbers)
    write_atomically(options.out / "serving.md", report(numbers))
    print(report(numbers))
