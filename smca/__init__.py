"""SMCA-DETR: an end-to-end object detector whose queries know where to look ("Fast Convergence of DETR with
Spatially Modulated Co-Attention", ICCV 2021).

This is the public door; every other module is private by convention. Names are imported when first used, and
importing the package registers the model with transformers' Auto classes, except inside the `smca` command, which
must answer `--help` before torch is loaded and registers when it needs a model.
"""

from __future__ import annotations

import importlib
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "SmcaConfig": "smca.modeling.configuration",
    "SmcaForObjectDetection": "smca.modeling.detector",
    "SmcaImageProcessor": "smca.modeling.image_processing",
    "Detections": "smca.detections",
    "load": "smca.inference.loading",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'smca' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _started_as_command() -> bool:
    """True for the `smca` script and for `python -m smca`."""
    return Path(sys.argv[0]).stem == "smca" or ("-m", "smca") in pairwise(sys.orig_argv)


if not _started_as_command():
    importlib.import_module("smca.modeling")
    importlib.import_module("smca.comparison.peers.registration")
