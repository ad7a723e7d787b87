"""A worker that some images kill, as a decoder that crashes would, and on which others fail."""

from __future__ import annotations

import os

from smca.deployment.batch import table
from smca.deployment.batch.worker import Picture, Worker


class PoisonedWorker(Worker):
    """Dies at images whose name holds "deadly", and raises at those whose name holds "raising"."""

    def _rows(self, pictures: list[Picture]) -> list[table.Row]:
        names = " ".join(picture.name for picture in pictures)
        if "deadly" in names:
            os._exit(1)
        if "raising" in names:
            raise RuntimeError("no such\nkernel")
        return super()._rows(pictures)
