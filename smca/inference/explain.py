"""Where the queries behind the detections of an image looked, from a model's named intermediates.

What is shown is the last decoder layer: G (E4, E6), co-attention (E5, E8), scale weights (E7) and the centre
(E2). Raises ModelError for a model that has no such intermediates, DataError for an image that cannot be
read.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image
from transformers import PreTrainedModel

from smca.errors import ModelError
from smca.files import write_atomically, write_json
from smca.inference.forward import evaluating, to_detections
from smca.inference.loading import Processor, class_names, load, processor_of
from smca.inference.predict import threshold_of
from smca.inference.sources import read_image
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.geometry import BatchSizes, LevelGeometry
from smca.modeling.outputs import Intermediates
from smca.progress import track
from smca.sizes import ImageSize
from smca.visualization.attention import Explanation, LevelMaps, overview, per_head


def explain(
    model: PreTrainedModel, processor: Processor, image: Tensor, threshold: float | None = None, most: int = 8
) -> Explanation:
    """Return the `most` best detections above `threshold` in a uint8 image [3, height, width], with maps."""
    if not isinstance(model, SmcaForObjectDetection):
        raise ModelError(f"{type(model).__name__} has no weight maps; a model of type 'smca' is needed")
    size = ImageSize(height=image.shape[1], width=image.shape[2])
    inputs = processor(images=[image], input_data_format="channels_first", return_tensors="pt").to(
        model.device
    )
    with evaluating(model):
        outputs = model(**inputs, intermediates=True)
    kept = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[tuple(size)])[0]
    found = to_detections(kept, size, class_names(model))
    best = np.flatnonzero(found.scores >= (threshold_of(model) if threshold is None else threshold))[:most]
    queries = kept["queries"].cpu().numpy()[best]
    traces, sizes = outputs.intermediates, BatchSizes.of_mask(inputs["pixel_mask"])
    levels = enumerate(model.input_projection.levels)
    return Explanation(
        detections=found.take(best),
        queries=queries,
        seen=ImageSize(height=int(sizes.height[0]), width=int(sizes.width[0])),
        levels=tuple(_maps(traces, index, level, queries, sizes) for index, level in levels),
        scale_weights=None if traces.scale_weights is None else _last(traces.scale_weights, queries),
        centres=None if traces.centres is None else _last(traces.centres, queries),
    )


def explain_file(model_folder: Path, image: Path, out: Path, threshold: float | None, most: int) -> Path:
    """Explain an image file: `overview.png`, one picture a detection and `explanation.json` in `out`."""
    pixels = read_image(image)
    model = load(model_folder)
    explanation = explain(model, processor_of(model), pixels, threshold, most)
    picture = to_pil_image(pixels)
    _save(overview(picture, explanation), out / "overview.png")
    pictures = [f"detection-{index + 1:02d}.png" for index in range(len(explanation.detections))]
    for index, name in enumerate(track(pictures, "drawing every head")):
        _save(per_head(picture, explanation, index), out / name)
    write_json(out / "explanation.json", {"image": str(image), "detections": _rows(explanation, pictures)})
    return out


def _maps(
    traces: Intermediates, index: int, level: LevelGeometry, queries: np.ndarray, sizes: BatchSizes
) -> LevelMaps:
    """The maps of one level without padding."""
    cells = sizes.cells(level.stride)
    valid = (..., slice(int(cells.height[0])), slice(int(cells.width[0])))
    return LevelMaps(
        name=level.name,
        stride=level.stride,
        offset=level.offset,
        weight_maps=_last(traces.weight_maps[index], queries)[valid] if traces.weight_maps else None,
        co_attention=_last(traces.co_attention[index], queries)[valid],
    )


def _last(values: Tensor, queries: np.ndarray) -> np.ndarray:
    """The last layer's values of the only image for some queries: [L, 1, N, ...] -> [n, ...]."""
    return values[-1, 0].float().cpu().numpy()[queries]


def _rows(explanation: Explanation, pictures: Sequence[str]) -> list[dict[str, object]]:
    rows = zip(explanation.detections.to_json(), explanation.queries.tolist(), pictures, strict=True)
    return [
        {**detection, "query": query, "picture": picture, **_numbers(explanation, index)}
        for index, (detection, query, picture) in enumerate(rows)
    ]


def _numbers(explanation: Explanation, index: int) -> dict[str, object]:
    """Scale weights by level name, and the centre (x, y) in pixels of the image; null without them."""
    weights, centres, size = explanation.scale_weights, explanation.centres, explanation.detections.size
    names = [level.name for level in explanation.levels]
    return {
        "scale_weights": None if weights is None else dict(zip(names, weights[index].tolist(), strict=True)),
        "centre": None if centres is None else (centres[index] * (size.width, size.height)).tolist(),
    }


def _save(picture: Image.Image, path: Path) -> None:
    content = io.BytesIO()
    picture.save(content, format="PNG")
    write_atomically(path, content.getvalue())
