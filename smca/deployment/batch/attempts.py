"""Which image kills the worker: notes on disk that survive it.

Ray starts a worker that died anew and gives it its shard again. From the second attempt on, the number of each image
is noted before it is touched, so the last number of an attempt that failed is the image it failed on. An image
that two attempts failed on is to blame; a machine that goes away seldom does so twice on the same image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smca.errors import ClusterError

FAILURES_TO_BLAME = 2
MOST_ATTEMPTS = 20
_START = "start"
DIED = "killed its worker (a crash, or out of memory)"


class Attempts:
    """The attempts at one shard, this one included, in a file that is gone when the shard is done."""

    def __init__(self, folder: Path, shard: int) -> None:
        self._file = folder / f"{shard:08d}"
        earlier = _read(self._file)
        self.careful = bool(earlier)
        self.blamed = _blamed(earlier)
        if len(earlier) >= MOST_ATTEMPTS:
            reason = next(reversed(self.blamed.values()), DIED)
            raise ClusterError(
                f"shard {shard} failed in its worker {len(earlier)} times, the last known reason: {reason}"
            )
        self._note(_START)

    @contextmanager
    def at(self, image: int) -> Iterator[None]:
        """Note the image of that number before it is touched, and why it failed if it says so."""
        self._note(str(image))
        try:
            yield
        except Exception as error:
            self._note(f"{image} {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            raise

    def done(self) -> None:
        """Forget the attempts."""
        self._file.unlink(missing_ok=True)

    def _note(self, line: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _read(file: Path) -> list[list[str]]:
    """The lines of each attempt."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return [part.splitlines() for part in text.split(_START + "\n")[1:]]


def _blamed(attempts: list[list[str]]) -> dict[int, str]:
    """The images that attempts failed on twice, and why."""
    last = [lines[-1].partition(" ") for lines in attempts if lines]
    failures = Counter(int(image) for image, _, _ in last)
    reasons = {int(image): reason or DIED for image, _, reason in last}
    return {image: reasons[image] for image, count in failures.items() if count >= FAILURES_TO_BLAME}
