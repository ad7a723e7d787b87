"""transformers' own tests, out of the source distribution of the installed version: fetched, never in the repository.

pip fetches it from whatever index it is set up for, once a version; `pytest --cache-clear` forgets it. Only the flat
files `tests/*.py` are taken, each under its own name, so no path of the archive is ever followed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

import transformers

SECONDS = 300


class NotToBeHadError(Exception):
    """The source distribution cannot be fetched here; the message says why."""


def library_tests(cache: Path) -> Path:
    """The folder of test files under `cache`, fetched if need be; several processes may ask at once."""
    folder = cache / f"transformers-{transformers.__version__}"
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=cache) as place:
        new = Path(place, "tests")
        new.mkdir()
        extract(fetched(Path(place)), new)
        try:
            new.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def fetched(place: Path) -> Path:
    """The source distribution, downloaded into `place`."""
    wanted = ("--no-deps", "--no-binary=transformers", f"transformers=={transformers.__version__}")
    command = [sys.executable, "-m", "pip", "download", *wanted, "--dest", str(place)]
    patience = {"PIP_RETRIES": "1", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(
            command, env=os.environ | patience, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotToBeHadError(f"pip took more than {SECONDS} s to fetch transformers' source") from error
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise NotToBeHadError(f"pip cannot fetch transformers' source: {errors[-1] if errors else done.returncode}")
    return next(place.glob("transformers-*.tar.gz"))


def extract(archive: Path, folder: Path) -> None:
    """Write the content of transformers-*/tests/*.py into `folder`."""
    with tarfile.open(archive) as packed:
        for member in packed:
            path = PurePosixPath(member.name)
            if member.isfile() and len(path.parts) == 3 and path.match("transformers-*/tests/*.py"):
                content = packed.extractfile(member)
                (folder / path.name).write_bytes(content.read() if content else b"")
