"""Libraries heed the switches: asked in a process of its own, as they read them when imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from smca.telemetry import SWITCHES

ASK = """
import json, sys
from smca import telemetry
telemetry.switch_off()
import huggingface_hub.constants
found = {"hub": huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY}
try:
    import ray._private.usage.usage_lib as usage
    found["ray"] = not usage.usage_stats_enabled()
except ImportError:
    pass
try:
    import openvino_telemetry
    found["openvino"] = False
except ImportError:
    found["openvino"] = True
print(json.dumps(found))
"""


def test_libraries_go_by_the_switches() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    command = [sys.executable, "-c", ASK, "-m", "smca"]  # the last words keep `import smca` light
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout)
    assert found == dict.fromkeys(found, True)
