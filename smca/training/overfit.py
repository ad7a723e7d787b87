"""Whether a detector can learn a few pictures by heart: `smca data check --overfit`.

A small model is trained on the first pictures that have boxes, each REPEATS times an epoch, and judged on the same
pictures. From AP .8 on, boxes, classes and pixels arrive where they should; below it something between the file and the
loss is wrong, or the pictures contradict each other.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

from smca.data.layouts import Format
from smca.data.reading import DataSet, read_splits
from smca.errors import DataError
from smca.training.launch import resolved_recipe, train_on
from smca.training.request import TrainRequest
from smca.training.run_folder import RunFolder

REPEATS, EPOCHS = 20, 20
LEARNED = 0.8


def overfit(data: Path, images: int, format: Format | None = None, epochs: int = EPOCHS) -> float:
    """The best AP on `images` pictures of the first split, all of them seen `epochs` * REPEATS times.

    Raises DataError when no picture has a box.
    """
    split = read_splits(data, format=format)[0]
    chosen = [record for record in split.records if (~record.crowd).any()][:images]
    if not chosen:
        raise DataError(f"{data}: no picture has a box, so there is nothing to learn by heart")
    most = max(len(record.trainable[1]) for record in chosen)
    settings = ("flip=0", "crop_epochs=0", "query_groups=1", f"num_queries={max(48, most)}")
    few = DataSet(
        dataclasses.replace(split, name="train", records=chosen * REPEATS),
        dataclasses.replace(split, name="val", records=chosen),
    )
    with TemporaryDirectory() as place:
        request = TrainRequest(data, "smca-tiny", out=Path(place) / "run", epochs=epochs, overrides=settings)
        run = train_on(request, resolved_recipe(request), few)
        return max(row["AP"] or 0.0 for row in RunFolder(run).metrics())
