"""transformers' object-detection pipeline with the threshold that a model was trained to have.

Theirs shows what scores above one half unless it is told otherwise, and says "one half" to the processor either way.
Here a model of ours, asked without a threshold, shows what scores above its own (`config.threshold`); a threshold that
is given, to `pipeline(...)` or to a call, counts; and any other model is answered as by theirs.
"""

from __future__ import annotations

from typing import Any

from transformers.pipelines.object_detection import ObjectDetectionPipeline

from smca.modeling.image_processing import SmcaImageProcessor

THEIRS = 0.5


class DetectionPipeline(ObjectDetectionPipeline):
    """Takes the place of transformers' own for the task "object-detection"."""

    def postprocess(self, model_outputs: Any, threshold: float | None = None) -> list[dict[str, Any]]:
        """One {"score", "label", "box"} a detection that scores above the threshold."""
        if threshold is None:
            ours = isinstance(self.image_processor, SmcaImageProcessor)
            threshold = float(getattr(self.model.config, "threshold", THEIRS)) if ours else THEIRS
        return super().postprocess(model_outputs, threshold)
