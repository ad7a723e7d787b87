"""The model as the server uses it: pictures -> detections or explanations. One thread calls it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from smca.deployment.serving.limits import RefusalError
from smca.detections import Detections
from smca.errors import ModelError, SmcaError
from smca.inference.explain import explain_object
from smca.inference.loading import class_names, processor_of
from smca.inference.predict import predict_batch, threshold_of
from smca.modeling.detector import SmcaForObjectDetection
from smca.visualization.explanation import Explanation

LOG = logging.getLogger(__name__)


class Engine:
    """What `smca.load` gave.

    name: what the page calls it; classes; threshold: its own; explains: whether it can tell where its queries looked;
    input_size: what the processor resizes to, as it says it.
    """

    def __init__(self, model: PreTrainedModel, source: Path) -> None:
        self._model = model
        self._processor = processor_of(model)
        self.name = "/".join(source.resolve().parts[-2:])
        self.classes = class_names(model)
        self.threshold = threshold_of(model)
        self.explains = isinstance(model, SmcaForObjectDetection)
        size = dict(getattr(self._processor, "size", None) or {})
        self.input_size = {name: length for name, length in size.items() if length is not None}

    def predict(self, pictures: Sequence[Tensor]) -> list[Detections | Exception]:
        """All detections in each picture, whatever the score; what fails fails alone."""
        try:
            return [*self._together(pictures)]
        except Exception as error:
            if len(pictures) == 1:
                LOG.exception("a prediction failed")
                return [RefusalError(500, str(error) if isinstance(error, SmcaError) else "the model failed")]
            return [result for picture in pictures for result in self.predict([picture])]

    def explain(self, picture: Tensor, label: str, box: Sequence[float]) -> Explanation:
        """What the query of one detection saw."""
        if not isinstance(self._model, SmcaForObjectDetection):
            raise ModelError("explanations are not available: this model does not tell where its queries look")
        return explain_object(self._model, picture, label, box)

    def _together(self, pictures: Sequence[Tensor]) -> list[Detections]:
        names = [f"picture {number}" for number in range(1, len(pictures) + 1)]
        return predict_batch(self._model, self._processor, pictures, names, threshold=0.0)
