"""What libraries would tell their makers, switched off: the one place that knows.

Hugging Face's libraries (huggingface_hub; through it transformers, timm, accelerate) name themselves, versions and a
session in every request to the hub; Ray reports the machine and the libraries in use; onnxruntime reports to Microsoft
from its import on, on Linux too, which its own `disable_telemetry_events()` does not prevent; OpenVINO reports each
conversion to Google Analytics. DO_NOT_TRACK is what others go by, mlflow among them. What the user has set in the
environment stays as it is. Nothing is imported here.
"""

from __future__ import annotations

import os
import sys
from typing import Any, cast

SWITCHES = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
NOT_IMPORTED = ("openvino_telemetry",)  # who finds it missing goes on without it


def switch_off() -> None:
    """Set the switches, which libraries read when they are imported: before that."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    for name in NOT_IMPORTED:
        cast(dict[str, Any], sys.modules).setdefault(name, None)
