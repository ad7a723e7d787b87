"""What a trainer trains: SMCA (and what its switches make of it), or a peer behind the same door."""

from __future__ import annotations

from typing import TypeAlias, cast

from transformers import AutoModelForObjectDetection

from smca.comparison.peers import registration
from smca.comparison.peers.model import PeerForObjectDetection
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection

__all__ = ["Detector", "new_detector", "registration"]

Detector: TypeAlias = SmcaForObjectDetection | PeerForObjectDetection


def new_detector(config: SmcaConfig) -> Detector:
    """A detector with initial values."""
    return cast(Detector, AutoModelForObjectDetection.from_config(config))
