"""Errors a user can cause, one class per kind of mistake.

Every message is one line that names what was found and what is allowed, printable whatever names it repeats. The
command line prints the message and exits with status 2; Python callers catch `SmcaError` for all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST = 1000
# Signs that command a terminal, turn the direction of reading, end a line, or are half of one.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class SmcaError(Exception):
    """A mistake the user can correct; the message says how."""

    def __str__(self) -> str:
        return printable(super().__str__())


class DataError(SmcaError):
    """A data set, annotation file or image that cannot be read as asked."""


class ConfigurationError(SmcaError, ValueError):
    """A switch, recipe or option with a value that is not allowed."""


class ModelError(SmcaError):
    """A folder or file that is not a model, or a model that does not fit the request."""


class WeightsError(SmcaError):
    """Pretrained weights that cannot be had or do not fit."""


class TrainingError(SmcaError):
    """A training run whose numbers left the finite range."""


class DeviceError(SmcaError):
    """A device that was asked for and is not there."""


class ClusterError(SmcaError):
    """Workers or machines that cannot be reached or cannot do the work."""


class OutputError(SmcaError):
    """An output folder or file that cannot be written without harm."""


def printable(text: str, most: int = LONGEST) -> str:
    """Return `text` on one line of at most that many signs, those that must not reach a terminal as escapes."""
    line = UNPRINTABLE.sub(lambda sign: sign[0].encode("unicode_escape").decode(), " ".join(text.splitlines()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def nearest(name: str, allowed: Iterable[str], most: int = 1) -> str:
    """Return " Did you mean 'x'?" for the allowed name closest to `name`, or "" when none is close.

    With `most` above 1 the next closest follow: " Did you mean 'x'? Near it: y, z."
    """
    found = difflib.get_close_matches(name, list(allowed), n=most)
    others = f" Near it: {', '.join(found[1:])}." if found[1:] else ""
    return f" Did you mean '{found[0]}'?{others}" if found else ""
