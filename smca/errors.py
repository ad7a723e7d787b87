"""Errors a user can cause, one class per kind of mistake.

Every message is one line that names what was found and what is allowed. The command line prints the message
and exits with status 2; Python callers catch `SmcaError` for all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SmcaError(Exception):
    """A mistake the user can correct; the message says how."""


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


def nearest(name: str, allowed: Iterable[str], most: int = 1) -> str:
    """Return " Did you mean 'x'?" for the allowed name closest to `name`, or "" when none is close.

    With `most` above 1 the next closest follow: " Did you mean 'x'? Near it: y, z."
    """
    found = difflib.get_close_matches(name, list(allowed), n=most)
    others = f" Near it: {', '.join(found[1:])}." if found[1:] else ""
    return f" Did you mean '{found[0]}'?{others}" if found else ""
