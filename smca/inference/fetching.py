"""What a URL leads to, as a temporary file: only http and https, up to `MOST_BYTES` and `MOST_SECONDS`.

Nothing is fetched that was not named. Raises DataError, one line, for what does not come.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import requests

from smca.errors import DataError

SCHEMES = ("http://", "https://")
MOST_BYTES = 1 << 30
MOST_SECONDS = 600.0
SECONDS_TO_ANSWER = 15.0


def is_url(name: str) -> bool:
    """Whether a name is a URL of any scheme."""
    return "://" in name


@contextmanager
def fetched(url: str, most_bytes: int = MOST_BYTES, most_seconds: float = MOST_SECONDS) -> Iterator[tuple[Path, str]]:
    """The file behind `url` and its media type ("image/png"; "" when not told); it is removed afterwards."""
    check_scheme(url)
    with tempfile.NamedTemporaryFile(prefix="smca-") as file:
        kind = _fetch(url, file, most_bytes, time.monotonic() + most_seconds)
        yield Path(file.name), kind


def check_scheme(url: str) -> None:
    """Raise DataError for another scheme than http and https."""
    if not url.lower().startswith(SCHEMES):
        raise DataError(f"cannot fetch {url}; allowed: URLs that begin with {' or '.join(SCHEMES)}")


def _fetch(url: str, file: IO[bytes], most_bytes: int, end: float) -> str:
    try:
        with requests.get(url, stream=True, timeout=SECONDS_TO_ANSWER) as answer:
            if not answer.ok:
                raise DataError(f"cannot fetch {url}: the server answers {answer.status_code} {answer.reason}")
            for part in answer.iter_content(1 << 16):
                file.write(part)
                if file.tell() > most_bytes:
                    raise DataError(f"cannot fetch {url}: more than {most_bytes:,} bytes; fetch it and name the file")
                if time.monotonic() > end:
                    raise DataError(f"cannot fetch {url}: it takes too long; fetch it and name the file")
            file.flush()
            return answer.headers.get("Content-Type", "").split(";")[0].strip().lower()
    except requests.RequestException as error:
        raise DataError(f"cannot fetch {url}: {_reason(error)}") from error


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return f"no answer within {SECONDS_TO_ANSWER:g} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.ConnectionError):
        return "no connection to the server; is there a network, and is the name right?"
    return " ".join(str(error).split())
