"""The image processor that a stranger's file describes: what it says is checked before a picture meets it.

Raises ValueError or another of Python's own errors for what is wrong; who reads the file says which file.
"""

from __future__ import annotations

import math
from typing import Any, get_args

from smca.modeling.configuration import SmcaConfig
from smca.modeling.image_processing import SmcaImageProcessor

LONGEST_SIDE = 20_000
RESAMPLING = range(6)  # Pillow's numbers
STEPS = ("do_resize", "do_rescale", "do_normalize", "do_pad")
LOSSES = get_args(SmcaConfig.__annotations__["class_loss"])


def processor_from(content: object) -> SmcaImageProcessor:
    """The processor of a JSON object, with sizes that fit into memory and numbers that do not divide by zero.

    What is no setting of ours is not read.
    """
    if not isinstance(content, dict):
        raise TypeError("it is not a JSON object")
    settings: dict[str, Any] = {"size": _size(content)}
    for name in ("image_mean", "image_std"):
        settings[name] = values = [float(value) for value in content[name]]
        if len(values) != 3 or not all(abs(value) < 1e6 for value in values) or (name[-3:] == "std" and 0 in values):
            raise ValueError(f"{name} is {str(content[name])[:80]}; allowed: three numbers")
    for name, allowed in (("class_loss", LOSSES), ("resample", RESAMPLING), *((name, (True, False)) for name in STEPS)):
        if name in content:
            settings[name] = _one_of(name, content[name], allowed)
    if "rescale_factor" in content:
        settings["rescale_factor"] = factor = float(content["rescale_factor"])
        if not 0 < factor < math.inf:
            raise ValueError(f"rescale_factor is {factor}; allowed: above 0")
    return SmcaImageProcessor(**settings)


def _size(content: dict[str, Any]) -> dict[str, int]:
    sides = {name: content["size"][name] for name in ("shortest_edge", "longest_edge")}
    if not all(type(side) is int and 1 <= side <= LONGEST_SIDE for side in sides.values()):
        raise ValueError(f"the sizes are {str(sides)[:80]}; allowed: 1 to {LONGEST_SIDE}")
    return sides


def _one_of(name: str, value: object, allowed: Any) -> object:
    if type(value) is not type(allowed[0]) or value not in allowed:
        raise ValueError(f"{name} is {str(value)[:40]}; allowed: {', '.join(map(str, allowed))}")
    return value
