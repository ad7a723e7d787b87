"""Runs the long proofs of reliability one after another and writes docs/results/soak.md: `make soak`.

    python -m benchmarks.soak [PART ...]

Each part is a script that can be run alone (`python -m benchmarks.soak.PART`) and ends with status 1 where what it
claims does not hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.soak.result import FOLDER
from smca.files import write_atomically

HERE = Path(__file__).parent
PARTS = sorted(file.stem for file in HERE.glob("*.py") if file.stem not in ("__main__", "result"))


def main() -> int:
    """Run what was asked for; the status is the number of parts that failed."""
    failed = [
        part
        for part in sys.argv[1:] or PARTS
        if subprocess.run([sys.executable, "-m", f"benchmarks.soak.{part}"], check=False).returncode
    ]
    write_atomically(FOLDER.with_suffix(".md"), table())
    print("failed: " + ", ".join(failed) if failed else "every claim held")
    return len(failed)


def table() -> str:
    """The page: a claim a section, with its figures."""
    lines = [
        "# Reliability, measured",
        "",
        "Written by `make soak`; parts may have been run alone, on the day that stands below each.",
        "",
    ]
    for file in sorted(FOLDER.glob("*.json")):
        found = json.loads(file.read_text())
        lines += [f"## {file.stem}", "", found["claim"], "", "| figure | value |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in found["figures"].items()]
        lines += ["", f"{found['seconds']:.0f} s, {found['machine']}, {found['date']}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
