"""Which detections of a video's frames are one object: ByteTrack, as Roboflow's `trackers` has it.

(supervision gave its ByteTrack up in favour of that package.) An object gets its number when it is seen a second time
and keeps it over a second out of sight. Detections down to half the threshold hold a track together; what is returned
are those from the threshold on. Raises ConfigurationError where `trackers` is not installed.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from smca.detections import Detections
from smca.errors import ConfigurationError
from smca.inference.video import Moment

KEPT = 0.5


class Tracker:
    """The objects of videos, one after another, whose frames come in order."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.least = KEPT * threshold
        self._new = tracker_class()
        self._tracker: Any = None

    def __call__(self, found: Detections, moment: Moment | None) -> Detections:
        """Return the detections with a score from the threshold on, of those found from `least` on.

        moment: when they were found, with the first frame of a video everything begins anew; None for an image, which
        has no tracks.
        """
        if moment is None:
            return found.above(self.threshold)
        if moment.index == 0:
            self._tracker = self._begun(float(moment.rate))
        numbered = found.to_supervision()
        numbered.data["index"] = np.arange(len(found))
        seen = self._tracker.update(numbered)
        tracks = np.full(len(found), -1, np.int64)
        if len(seen):
            tracks[seen.data["index"]] = seen.tracker_id
        return replace(found, tracks=tracks).above(self.threshold)

    def _begun(self, rate: float) -> Any:
        least = self.threshold
        return self._new(frame_rate=rate, track_activation_threshold=least, high_conf_det_threshold=least)


def tracker_class() -> Any:
    """Return the class, or say how to install it."""
    try:
        return import_module("trackers").ByteTrackTracker
    except ImportError as error:
        raise ConfigurationError("--track needs the package trackers: pip install 'smca-detr[track]'") from error
