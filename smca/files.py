"""Files on disk: written completely or not at all, also entry by entry, by one process at a time; JSON errors with
their position.

Errors raised: `DataError` for JSON that cannot be read, `OutputError` for a place that cannot be written.
"""

from __future__ import annotations

import errno
import json
import stat
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from smca.errors import DataError, OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NO_TEXT = "backslashreplace"  # the bytes of a file's name that are no UTF-8: as JSON writes such signs too
LOCK = ".lock"
HELD = (errno.EACCES, errno.EAGAIN)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` under a temporary name beside `path`, then rename: readers never see half a file."""
    data = content.encode("utf-8", NO_TEXT) if isinstance(content, str) else content
    with writing(path):
        draft = draft_of(path)
        try:
            draft.write_bytes(data)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def draft_of(path: Path) -> Path:
    """Return a temporary name beside `path`, to be renamed to it when complete; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong on the disk inside the block is the `OutputError` of `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


class JsonList:
    """A JSON array that grows entry by entry, one a line, and is never held in memory.

    A context manager: the file is at its place when the block ends well, and nothing is there when it does not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._draft: Path | None = None
        self._file: TextIO | None = None

    def __enter__(self) -> JsonList:
        return self

    def append(self, value: object) -> None:
        """Write one entry; NaN and infinity are refused by `ValueError`."""
        entry = json.dumps(value, ensure_ascii=False, allow_nan=False)
        with writing(self.path):
            if self._file is None:
                self._draft = draft_of(self.path)
                self._file = self._draft.open("w", encoding="utf-8", errors=NO_TEXT)
                self._file.write(f"[\n{entry}")
            else:
                self._file.write(f",\n{entry}")

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._file is None or self._draft is None:
            if kind is None:
                write_atomically(self.path, "[]\n")
            return
        with writing(self.path):
            try:
                with self._file:
                    self._file.write("\n]\n")
                if kind is None:
                    self._draft.replace(self.path)
            finally:
                self._draft.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Parse a JSON file; `DataError` names the file, and line and column of broken syntax."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        message = f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise DataError(message) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not valid JSON: byte {error.start} is not UTF-8 text") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity are refused by `ValueError`."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def is_file(path: Path) -> bool:
    """Whether this is a regular file; False too for names that none can have, as `Path.is_file` is not."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether this is a folder, in the same way."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    """0 for what cannot be there; PermissionError where that cannot be told."""
    try:
        return path.stat().st_mode
    except PermissionError:
        raise
    except (OSError, ValueError):
        return 0


def claim_folder(path: Path, advice: str = "choose another or empty it") -> Path:
    """Create `path` and return it; `OutputError` with `advice` when something is already there."""
    try:
        if path.is_dir() and any(path.iterdir()):
            raise OutputError(f"output folder {path} is in use (not empty): {advice}")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create output folder {path}: {error.strerror or error}") from error
    return path


@contextmanager
def alone(folder: Path, whose: str) -> Iterator[None]:
    """Keep all other processes out of such a block of the same folder: there it is an OutputError that names `whose`.

    The system lets go what a killed process held, and forked loaders do not inherit it. On Windows, and where the file
    system knows no locks, nobody is kept out.
    """
    with ExitStack() as held:
        with writing(folder / LOCK):
            file = held.enter_context((folder / LOCK).open("w"))
        if not _locked(file):
            raise OutputError(f"another {whose} writes into {folder} now: wait for it or stop it")
        yield


def _locked(file: TextIO) -> bool:
    """False where another process holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in HELD
    return True
