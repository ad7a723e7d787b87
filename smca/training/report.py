"""RUN/report.html: how a run goes, what its best model finds, how to use it, and what it was asked for.

The page is made from the run's files and, of the best epoch's detections, a dozen pictures. It is written after an
epoch when writing has taken less than `SHARE` of the time so far, and when the run ends or stops. It draws no random
number, and a page that cannot be written is one line on the screen, not the end of a run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from smca.data.records import Record, Split
from smca.detections import Detections
from smca.errors import OutputError
from smca.evaluation.coco import CocoEvaluator
from smca.files import write_atomically
from smca.inference.loading import load
from smca.inference.predict import predict_with
from smca.progress import Progress
from smca.training.run_folder import RunFolder

if TYPE_CHECKING:
    from smca.visualization.page import Picture

SHARE = 0.02
EXAMPLES = 12


class RunReport:
    """The page of one run, which trains for `epochs` and is evaluated on `val`."""

    def __init__(self, folder: RunFolder, val: Split, epochs: int, progress: Progress, device: str | None) -> None:
        self.folder = folder
        self.val = val
        self.epochs = epochs
        self.progress = progress
        self.device = device
        self.examples: list[tuple[Record, Detections]] = []
        self._pictures: list[Picture] = []
        self._spent = 0.0
        self._started = time.monotonic()

    def show(self, evaluator: CocoEvaluator, threshold: float) -> None:
        """Take what the best model so far finds."""
        chosen = example_records(self.val)
        self.examples = [(self.val.records[i], evaluator.found(i, threshold)) for i in chosen]
        self._pictures = []

    def refresh(self) -> None:
        """Write the page, unless that would slow the run down."""
        if self._spent <= SHARE * (time.monotonic() - self._started):
            self._write(last=False)

    def finish(self) -> None:
        """Write the page for the last time, if there was an epoch; pictures are predicted if none were kept."""
        if self.folder.metrics():
            self._write(last=True)

    def _write(self, last: bool) -> None:
        began = time.monotonic()
        try:
            self._write_page(last)
        except OutputError as error:
            self.progress.print(str(error))
        self._spent += time.monotonic() - began

    def _write_page(self, last: bool) -> None:
        """Raises OutputError whatever goes wrong."""
        path = self.folder.path / "report.html"
        try:
            from smca.evaluation.examples import prediction_picture
            from smca.training.page import run_page

            if last and not self.examples:
                self._predict()
            self._pictures = self._pictures or [prediction_picture(*example) for example in self.examples]
            write_atomically(path, run_page(self.folder, self.epochs, self._pictures))
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OutputError(f"the page {path} could not be written: {reason}") from error

    def _predict(self) -> None:
        """After a resume none of whose epochs was the best."""
        records = [self.val.records[i] for i in example_records(self.val)]
        found = predict_with(load(self.folder.path / "best", self.device), [record.path for record in records])
        self.examples = list(zip(records, found, strict=True))


def example_records(val: Split) -> list[int]:
    """Places of a dozen images, evenly over those that have objects, or over all if none has."""
    filled = [i for i, record in enumerate(val.records) if (~record.crowd).any()]
    known = filled or list(range(len(val.records)))
    return [known[i] for i in np.linspace(0, len(known) - 1, min(EXAMPLES, len(known))).round().astype(int)]
