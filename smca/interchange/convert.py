"""`smca convert`: a public checkpoint -> a MODEL.

The authors' checkpoints become models that compute the same; DETR's, Facebook's own or as transformers saves it, is
the beginning of one (a warm start): what it has no counterpart for keeps its initial values. Raises WeightsError when
keys are missing, unknown or of another shape, OutputError when the folder is in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor

from smca.errors import ConfigurationError, WeightsError
from smca.files import claim_folder
from smca.inference.saving import save_model
from smca.interchange.checkpoint import Checkpoint, read_checkpoint
from smca.interchange.classes import Classes, class_rows, classes_of
from smca.interchange.layout import Kind, Layout, layout_of
from smca.interchange.names import source_of
from smca.interchange.transformers_names import in_facebooks_names, is_of_transformers
from smca.modeling.configuration import SmcaConfig
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from smca.modeling.initialization import spread_centres

NAMED = 10
FRESH = ("point1", "point2", "point3", "norm4")


@dataclass(frozen=True)
class Conversion:
    """What was made: the kind of checkpoint, the model, keys taken and names of ours that are freshly initialised."""

    kind: Kind
    model: SmcaForObjectDetection
    taken: int
    fresh: list[str]


def convert_file(source: Path, out: Path) -> Conversion:
    """Write the MODEL of a checkpoint into the new folder `out`."""
    conversion = converted(read_checkpoint(source))
    claim_folder(out)
    save_model(conversion.model, SmcaImageProcessor.suited_to(conversion.model.config), out)
    return conversion


def converted(checkpoint: Checkpoint) -> Conversion:
    """The model in a checkpoint."""
    if is_of_transformers(checkpoint.tensors):
        checkpoint = in_facebooks_names(checkpoint)
    layout = layout_of(checkpoint)
    classes = classes_of(layout.outputs, layout.kind == "DETR")
    id2label = dict(enumerate(classes.names))
    names = {"id2label": id2label, "label2id": {name: i for i, name in id2label.items()}}
    try:
        model = SmcaForObjectDetection(SmcaConfig(**layout.switches, **names))
    except (StrictDataclassError, ConfigurationError) as error:
        raise WeightsError(f"the checkpoint's shapes make no model: {' '.join(str(error).split())}") from error
    weights, fresh = _weights(model, checkpoint, layout, classes)
    model.load_state_dict(weights, strict=False)
    if fresh:
        spread_centres(model.decoder)
    return Conversion(layout.kind, model.eval(), len(checkpoint.tensors), fresh)


def _weights(
    model: SmcaForObjectDetection, checkpoint: Checkpoint, layout: Layout, classes: Classes
) -> tuple[dict[str, Tensor], list[str]]:
    """Our tensors from the checkpoint's, and the names of those it cannot have."""
    found, fresh, used = {}, [], set()
    missing, misshapen = [], []
    softmax = layout.kind == "DETR"
    for name, ours in model.state_dict().items():
        source = source_of(name, len(model.config.levels))
        used.add(source.key)
        if source.key not in checkpoint.tensors:
            counterpart = not (softmax and any(f".{part}." in source.key for part in FRESH))
            (missing if counterpart else fresh).append(source.key if counterpart else name)
            continue
        theirs = checkpoint.tensors[source.key]
        part = source.take(theirs, tuple(ours.shape))
        if source.key.startswith("class_embed.") and part.shape[:1] == (layout.outputs,):
            part = class_rows(part, classes, softmax)
        if part.shape != ours.shape:
            misshapen.append(f"{source.key} {list(theirs.shape)}")
        found[name] = part
    _refuse(missing, set(checkpoint.tensors) - used, misshapen)
    return found, fresh


def _refuse(missing: Iterable[str], unknown: Iterable[str], misshapen: Iterable[str]) -> None:
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
        for kind, names in (
            ("missing", sorted(set(missing))),
            ("unknown", sorted(unknown)),
            ("of another shape", sorted(set(misshapen))),
        )
        if names
    ]
    if problems:
        raise WeightsError(f"the checkpoint's keys do not fit: {'; '.join(problems)}")
