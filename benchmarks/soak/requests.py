"""20,000 requests to a real `smca serve`: no error, and memory that does not grow with their number.

    python -m benchmarks.soak.requests [--requests N]        (fewer: printed, not recorded)

Twelve clients keep their connections and send small pictures of several sizes, one after the other. The server's own
resident memory is read from /metrics every second; a line is fitted to what came after the first fifth of the requests.
The limit, 1 MB in 1,000 requests, is a kilobyte a request, less than any of their pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np

from benchmarks.serving import Load, metric, started
from benchmarks.soak.result import Figures, record
from smca.cli.process import start
from smca.data.scenes import make_scenes
from smca.sizes import ImageSize
from smca.training.launch import train
from smca.training.request import TrainRequest

CLAIM = "A server answers 20,000 requests of twelve clients without an error, in memory that does not grow."
REQUESTS = 20_000
CLIENTS = 12
SIDE = 96
SIZES = (64, 96, 128)  # of the pictures sent
LIMIT = 1.0  # MB per 1,000 requests


class Memory:
    """Requests answered so far, and the server's memory in MB, second by second."""

    def __init__(self) -> None:
        self.requests: list[int] = []
        self.megabytes: list[float] = []

    async def watch(self, address: str, seen: Load, total: int) -> None:
        """Until all requests are answered."""
        async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
            while len(seen.seconds) < total:
                await asyncio.sleep(1)
                text = (await client.get("/metrics")).text
                self.requests.append(len(seen.seconds))
                self.megabytes.append(metric(text, "process_resident_memory_bytes") / 1e6)

    def growth(self) -> float:
        """MB per 1,000 requests, by least squares, without the first fifth."""
        counts, sizes = np.array(self.requests), np.array(self.megabytes)
        counted = counts >= counts[-1] / 5
        return float(np.polyfit(counts[counted], sizes[counted], 1)[0]) * 1000


def model_and_pictures(folder: Path) -> tuple[Path, list[bytes]]:
    """A smca-tiny that has seen a few scenes, and pictures of several sizes."""
    pictures = []
    for side in SIZES:
        scenes = make_scenes(folder / f"scenes-{side}", 40, size=ImageSize(height=side, width=side * 4 // 3))
        pictures += [file.read_bytes() for file in sorted((scenes / "images").iterdir())]
    request = TrainRequest(
        folder / f"scenes-{SIDE}", "smca-tiny", folder / "run", epochs=1, batch=4, image_size=SIDE, workers=0,
        device="cpu", overrides=("crop_epochs=0",), report_to=(),
    )  # fmt: skip
    return train(request) / "last", pictures


async def ask(address: str, pictures: list[bytes], total: int) -> tuple[Load, Memory]:
    """Send them all; threshold 0 makes every answer a long one."""
    seen, memory, numbers = Load(), Memory(), iter(range(total))
    clients = (seen.client(address, pictures, numbers, {"threshold": "0"}) for _ in range(CLIENTS))
    await asyncio.gather(memory.watch(address, seen, total), *clients)
    return seen, memory


def work(total: int = REQUESTS) -> Figures:
    """Serve and ask; raises AssertionError for any error and for growing memory."""
    with tempfile.TemporaryDirectory() as place:
        model, pictures = model_and_pictures(Path(place))
        with started(model) as (server, address):
            begin = time.monotonic()
            seen, memory = asyncio.run(ask(address, pictures, total))
            took = time.monotonic() - begin
            server.terminate()
            status = server.wait(60)
    errors = {name: count for name, count in seen.statuses.items() if name != "200"}
    grown = memory.growth()
    print(f"{total} requests, {total / took:.1f} a second, {grown:.3f} MB per 1,000", flush=True)
    assert not errors, errors
    assert len(seen.seconds) == total
    assert status == 0, status
    assert grown <= LIMIT, f"{grown:.2f} MB per 1,000 requests, {LIMIT} are allowed"
    return {
        "requests, clients": f"{total}, {CLIENTS}",
        "errors": 0,
        "requests a second": round(total / took, 1),
        "p50, p99 ms": ", ".join(f"{1000 * np.percentile(seen.seconds, part):.0f}" for part in (50, 99)),
        "MB at the start, at the end": f"{memory.megabytes[0]:.1f}, {memory.megabytes[-1]:.1f}",
        "MB per 1,000 requests": round(grown, 3),
        "allowed": LIMIT,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    wanted = parser.parse_args().requests
    start()
    if wanted < REQUESTS:
        print(work(wanted))
    else:
        record("requests", CLAIM, work)
