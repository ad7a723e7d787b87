"""Where each detection's query looked: `smca explain` and `model.explain`.

Runs one image through the explicit form of the attention. `explain_file` writes overview.png (a row a detection), one
detection-N.png with all heads each (those of an earlier run go), explain.json and explain.npz; what is in them says
`smca.visualization.explanation`. An image without detections gives an explanation too, which says why.

Raises ModelError for a model that is not one of ours: other detectors do not tell what their queries saw; OutputError
where the image itself would be replaced; ConfigurationError for less than one detection or a class that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from smca.errors import ConfigurationError, ModelError, OutputError, nearest
from smca.inference.forward import evaluating, post_processed, to_detections
from smca.inference.loading import class_names, load, processor_of
from smca.inference.predict import threshold_of
from smca.inference.sources import ImageSource, describe, read_image
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.geometry import LevelGeometry
from smca.modeling.outputs import Intermediates
from smca.sizes import ImageSize
from smca.visualization.explanation import DETECTIONS, OVERVIEW, Explanation, LevelMaps

MOST = 8


def explain_file(
    model_folder: Path, image: Path, out: Path, threshold: float | None = None, most: int = MOST
) -> Explanation:
    """Explain one image's best `most` detections and write the pictures and numbers into `out`."""
    model = load(model_folder)
    if not isinstance(model, SmcaForObjectDetection):
        raise ModelError(f"{model_folder} holds a {type(model).__name__}; only models of type smca can be explained")
    if image.resolve().parent == out.resolve() and any(image.match(name) for name in (OVERVIEW, DETECTIONS)):
        raise OutputError(f"writing into {out} would replace the image {image}; choose another folder")
    explanation = explain(model, image, threshold, most)
    explanation.save(out)
    return explanation


def explain(
    model: SmcaForObjectDetection, image: ImageSource, threshold: float | None = None, most: int = MOST
) -> Explanation:
    """What the queries of the best detections in an image saw; the detections are those of `predict`."""
    if most < 1:
        raise ConfigurationError(f"most is {most}; allowed: 1 or more")
    lowest = threshold_of(model) if threshold is None else threshold
    return _explain(model, image, lowest, lambda found: (found["scores"] >= lowest).nonzero()[:most, 0])


def explain_object(model: SmcaForObjectDetection, image: ImageSource, label: str, box: Sequence[float]) -> Explanation:
    """What the query of one detection saw: of those of class `label` the one whose box is nearest to x1 y1 x2 y2."""
    names = class_names(model)
    if label not in names:
        raise ConfigurationError(f"no class '{label}'.{nearest(label, names)}")

    def pick(found: Mapping[str, Tensor]) -> Tensor:
        away = (found["boxes"] - found["boxes"].new_tensor(list(box))).abs().amax(dim=1)
        away = away.masked_fill(found["labels"] != names.index(label), torch.inf)
        if not bool(away.isfinite().any()):
            raise ConfigurationError(f"nothing in the picture is taken for a '{label}', however low the score")
        return away.argmin().reshape(1)

    return _explain(model, image, 0.0, pick)


def _explain(
    model: SmcaForObjectDetection, image: ImageSource, lowest: float, pick: Callable[[Mapping[str, Tensor]], Tensor]
) -> Explanation:
    """pick: all that was found -> which of it to explain, by number; lowest: the threshold to state."""
    pixels = read_image(image)
    size = ImageSize(height=pixels.shape[1], width=pixels.shape[2])
    processor = processor_of(model)
    inputs = processor(images=[pixels], input_data_format="channels_first", return_tensors="pt").to(model.device)
    with evaluating(model):
        outputs = model(**inputs, intermediates=True)
        found = post_processed(outputs, processor, [size], [describe(image, 0)])[0]
    picked = pick(found)
    kept = {name: values[picked] for name, values in found.items()}
    queries = kept["queries"].cpu()
    seen = outputs.intermediates
    return Explanation(
        image=to_pil_image(pixels),
        detections=to_detections(kept, size, class_names(model)),
        threshold=lowest,
        highest_score=float(found["scores"].max()) if len(found["scores"]) else 0.0,
        queries=queries.numpy(),
        seen=_size_seen(inputs),
        levels=tuple(_level(geometry, seen, index, queries) for index, geometry in enumerate(seen.levels)),
        scale_weights=_chosen(seen.scale_weights, queries),
        centres=_chosen(seen.centres, queries),
    )


def _size_seen(inputs: Mapping[str, Tensor]) -> ImageSize:
    """The size of the one image without padding; a processor may make no mask."""
    if "pixel_mask" not in inputs:
        return ImageSize(*inputs["pixel_values"].shape[2:])
    mask = inputs["pixel_mask"][0]
    return ImageSize(height=int(mask[:, 0].sum()), width=int(mask[0].sum()))


def _level(geometry: LevelGeometry, seen: Intermediates, index: int, queries: Tensor) -> LevelMaps:
    def chosen(levels: list[Tensor]) -> np.ndarray | None:
        return _chosen(levels[index], queries) if levels else None

    return LevelMaps(
        name=geometry.name,
        stride=geometry.stride,
        offset=geometry.offset,
        co_attention=_of_queries(seen.co_attention[index], queries),
        weight_maps=chosen(seen.weight_maps),
        plain_attention=chosen(seen.plain_attention),
        head_centres=chosen(seen.head_centres),
        sigmas=chosen(seen.sigmas),
        products=chosen(seen.products),
    )


def _chosen(values: Tensor | None, queries: Tensor) -> np.ndarray | None:
    return None if values is None else _of_queries(values, queries)


def _of_queries(values: Tensor, queries: Tensor) -> np.ndarray:
    """Of [layers, 1, N, ...] the last layer and some queries."""
    return values[-1, 0, queries.to(values.device)].float().cpu().numpy()
