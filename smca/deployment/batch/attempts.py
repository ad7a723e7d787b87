"""Which image kills the worker: notes on disk that survive it.

Ray starts a worker that died anew and gives it its shard again. From the second attempt on, the number of each image
is noted before it is touched, so the last number of an attempt that failed is the image it failed on. An image that
two attempts failed on is to blame; a machine that goes away seldom does so twice on the same image.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from smca.errors import ClusterError, OutputError

FAILURES_TO_BLAME = 2
MOST_ATTEMPTS = 20
DIED = "killed its worker (a crash, or out of memory)"
_START, _REASON = "start", "because "


class Attempts:
    """The attempts at one shard, this one included, in a file that is gone when the shard is done.

    careful: whether an earlier attempt failed; blamed: the images not to touch again, and why. Raises ClusterError
    for a shard that failed MOST_ATTEMPTS times, OutputError when notes cannot be written.
    """

    def __init__(self, folder: Path, shard: int) -> None:
        self._file = folder / f"{shard:08d}"
        earlier = _read(self._file)
        self.careful = bool(earlier)
        self.blamed = _blamed(earlier)
        if len(earlier) >= MOST_ATTEMPTS:
            raise ClusterError(
                f"shard {shard} failed {len(earlier)} times in its worker, at last: {_reason(earlier[-1])}"
            )
        self._note(_START)

    def at(self, image: int) -> None:
        """Note the number of the image that comes now."""
        self._note(str(image))

    def failed(self, error: Exception) -> None:
        """Note why this attempt ends."""
        self._note(f"{_REASON}{type(error).__name__}: {' '.join(str(error).split())[:200]}")

    def done(self) -> None:
        """Forget the attempts."""
        self._file.unlink(missing_ok=True)

    def _note(self, line: str) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self._file}: {error.strerror or error}") from error


def _read(file: Path) -> list[list[str]]:
    """The lines of each attempt."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return [part.splitlines() for part in text.split(_START + "\n")[1:]]


def _reason(attempt: list[str]) -> str:
    noted = [line.removeprefix(_REASON) for line in attempt if line.startswith(_REASON)]
    return noted[-1] if noted else DIED


def _blamed(attempts: list[list[str]]) -> dict[int, str]:
    """The images that attempts failed on twice, and why."""
    images = [[int(line) for line in attempt if line.isdecimal()] for attempt in attempts]
    last = {i: numbers[-1] for i, numbers in enumerate(images) if numbers}
    reasons = {image: _reason(attempts[i]) for i, image in last.items()}
    return {image: reasons[image] for image, count in Counter(last.values()).items() if count >= FAILURES_TO_BLAME}
