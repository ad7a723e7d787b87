"""Where each detection's query looked: `smca explain`.

Runs one image through the explicit form of the attention and writes overview.png (a row a detection), one
detection-N.png with all heads each (those of an earlier run go), and explain.json with centres and scale weights.
Raises ModelError for a model that is not one of ours: other detectors do not tell what their queries saw.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from smca.errors import ModelError
from smca.files import write_atomically, write_json
from smca.inference.forward import evaluating, to_detections
from smca.inference.loading import class_names, load, processor_of
from smca.inference.predict import threshold_of
from smca.inference.sources import read_image
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.outputs import Intermediates
from smca.sizes import ImageSize
from smca.visualization.attention import Explanation, LevelMaps, overview, per_head


def explain_file(model_folder: Path, image: Path, out: Path, threshold: float | None = None, most: int = 8) -> Path:
    """Write the pictures of one image's best `most` detections into `out`."""
    model = load(model_folder)
    if not isinstance(model, SmcaForObjectDetection):
        raise ModelError(f"{model_folder} holds a {type(model).__name__}; only models of type smca can be explained")
    pixels = read_image(image)
    explanation = explain(model, pixels, threshold, most)
    picture = to_pil_image(pixels)
    for earlier in out.glob("detection-[0-9]*.png"):
        earlier.unlink()
    _write(out / "overview.png", overview(picture, explanation))
    for index in range(len(explanation.detections)):
        _write(out / f"detection-{index + 1}.png", per_head(picture, explanation, index))
    write_json(out / "explain.json", _numbers(explanation))
    return out


def explain(model: SmcaForObjectDetection, image: Tensor, threshold: float | None = None, most: int = 8) -> Explanation:
    """What the queries of the best detections in a uint8 image [3, height, width] saw."""
    size = ImageSize(height=image.shape[1], width=image.shape[2])
    processor = processor_of(model)
    inputs = processor(images=[image], input_data_format="channels_first", return_tensors="pt").to(model.device)
    with evaluating(model):
        outputs = model(**inputs, intermediates=True)
    lowest = threshold_of(model) if threshold is None else threshold
    found = processor.post_process_object_detection(outputs, threshold=lowest, target_sizes=[tuple(size)])[0]
    queries = found["queries"][:most].cpu()
    seen = outputs.intermediates
    scale = seen.scale_weights
    return Explanation(
        detections=to_detections({k: v[:most] for k, v in found.items()}, size, class_names(model)),
        queries=queries.numpy(),
        seen=ImageSize(height=inputs["pixel_values"].shape[2], width=inputs["pixel_values"].shape[3]),
        levels=tuple(_level(model, seen, index, queries) for index in range(len(seen.level_names))),
        scale_weights=None if scale is None else _chosen(scale, queries),
        centres=None if seen.centres is None else _chosen(seen.centres, queries),
    )


def _level(model: SmcaForObjectDetection, seen: Intermediates, index: int, queries: Tensor) -> LevelMaps:
    geometry = model.input_projection.levels[index]
    return LevelMaps(
        name=geometry.name,
        stride=geometry.stride,
        offset=geometry.offset,
        weight_maps=_chosen(seen.weight_maps[index], queries) if seen.weight_maps else None,
        co_attention=_chosen(seen.co_attention[index], queries),
    )


def _chosen(values: Tensor, queries: Tensor) -> np.ndarray:
    """Of [layers, 1, N, ...] the last layer and some queries."""
    return values[-1, 0, queries.to(values.device)].float().cpu().numpy()


def _write(path: Path, picture: Image.Image) -> None:
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_atomically(path, content.getvalue())


def _numbers(explanation: Explanation) -> list[dict[str, Any]]:
    rows = []
    for index, detection in enumerate(explanation.detections.to_json()):
        row: dict[str, Any] = {**detection, "query": int(explanation.queries[index])}
        if explanation.centres is not None:
            row["centre"] = dict(zip(("x", "y"), explanation.centres[index].tolist(), strict=True))
        if explanation.scale_weights is not None:
            names = [level.name for level in explanation.levels]
            row["scale_weights"] = dict(zip(names, explanation.scale_weights[index].tolist(), strict=True))
        rows.append(row)
    return rows
