"""Files on disk: written completely or not at all, JSON errors with their position.

Errors raised: `DataError` for JSON that cannot be read, `OutputError` for a place that cannot be written.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from smca.errors import DataError, OutputError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` under a temporary name beside `path`, then rename: readers never see half a file."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


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


def claim_folder(path: Path, advice: str = "choose another or empty it") -> Path:
    """Create `path` and return it; `OutputError` with `advice` when something is already there."""
    try:
        if path.is_dir() and any(path.iterdir()):
            raise OutputError(f"output folder {path} is in use (not empty): {advice}")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create output folder {path}: {error.strerror or error}") from error
    return path
