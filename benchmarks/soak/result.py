"""What one part of the soak found, as JSON beside the others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from smca.files import write_json
from smca.machine import machine

FOLDER = Path(__file__).parents[2] / "docs" / "results" / "soak"
Figures = dict[str, int | float | str]


def record(part: str, claim: str, work: Callable[[], Figures]) -> None:
    """Do the work and write FOLDER/PART.json: the claim in a sentence, and the figures that bear it out.

    The work raises where the claim does not hold, and then nothing is written.
    """
    begin = time.monotonic()
    figures = work()
    seconds = round(time.monotonic() - begin, 1)
    found = {"claim": claim, "figures": figures, "seconds": seconds, **machine()}
    write_json(FOLDER / f"{part}.json", found)
    print(json.dumps(found, indent=1), flush=True)
