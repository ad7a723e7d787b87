"""The one result type for detections that crosses all rooms.

Boxes are (x1, y1, x2, y2) in pixels of the original image, clipped to it; scores are in [0, 1] and descend;
labels are class indices 0..K-1; `names` holds the class name of every detection. In a tracked video `tracks` says
which detections of its frames are one object.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smca.sizes import ImageSize

if TYPE_CHECKING:
    import supervision
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one image.

    boxes: float32 [n, 4]; scores: float32 [n]; labels: int64 [n]; names: n strings; size: of the image;
    tracks: int64 [n], 0 or more, or -1 for an object that was not seen twice yet; None where nothing is tracked.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    size: ImageSize
    tracks: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that all fields speak about the same number of detections."""
        n = len(self.names)
        shapes = (self.boxes.shape, self.scores.shape, self.labels.shape)
        if shapes != ((n, 4), (n,), (n,)):
            raise ValueError(f"{n} names need boxes [{n}, 4], scores [{n}], labels [{n}], got {shapes}")
        if self.tracks is not None and self.tracks.shape != (n,):
            raise ValueError(f"{n} names need tracks [{n}], got {self.tracks.shape}")

    def __len__(self) -> int:
        return len(self.names)

    def above(self, threshold: float) -> Detections:
        """Return the detections whose score is at least `threshold`."""
        return self.take(np.flatnonzero(self.scores >= threshold))

    def take(self, indices: np.ndarray) -> Detections:
        """Return the detections at `indices` (int [m]), in that order."""
        names = tuple(self.names[i] for i in indices)
        tracks = None if self.tracks is None else self.tracks[indices]
        return Detections(self.boxes[indices], self.scores[indices], self.labels[indices], names, self.size, tracks)

    def to_json(self) -> list[dict[str, Any]]:
        """Return one {"label", "score", "box": [x1, y1, x2, y2]} per detection, of builtin types.

        Where objects are tracked each has a "track" too, null for an object that was not seen twice yet.
        """
        rows = zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True)
        found: list[dict[str, Any]] = [{"label": name, "score": score, "box": box} for name, score, box in rows]
        if self.tracks is None:
            return found
        return [
            {**one, "track": None if track < 0 else track}
            for one, track in zip(found, self.tracks.tolist(), strict=True)
        ]

    def draw(self, image: Image.Image | np.ndarray | str | Path) -> Image.Image:
        """Return a copy of `image` (RGB) with every box, name and score drawn on it."""
        from smca.visualization.detections import draw

        return draw(image, self)

    def to_supervision(self) -> supervision.Detections:
        """Return the same detections as `supervision.Detections`, names under `data["class_name"]`."""
        import supervision

        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            tracker_id=self.tracks,
            data={"class_name": np.array(self.names, str)},
        )
