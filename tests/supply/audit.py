"""Known vulnerabilities of the packages that CI installs, by pip-audit: `python -m tests.supply.audit`.

Status 1 where there are some. Where the service of vulnerabilities does not answer nothing is known, which pip-audit
itself reports as "no known vulnerabilities": then it is said that nothing was audited, and the status is 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

LOCKED = Path(__file__).parents[2] / ".ci" / "locked.txt"
COMMAND = ("pip_audit", "--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off")
SECONDS = 300


class Verdict(NamedTuple):
    """One line a finding, and the exit status."""

    lines: list[str]
    status: int


def audited(found: dict[str, Any] | None) -> Verdict:
    """What pip-audit's JSON says; None for no answer."""
    packages = found["dependencies"] if found else []
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        return Verdict(["NOT AUDITED: the service of known vulnerabilities does not answer here"], 0)
    lines = [
        f"{package['name']} {package['version']}: {bug['id']}, fixed in {', '.join(bug['fix_versions']) or 'none'}"
        for package in known
        for bug in package["vulns"]
    ]
    skipped = len(packages) - len(known)
    summary = f"{len(known)} packages audited, {skipped} not known to the service, {len(lines)} vulnerabilities"
    return Verdict([*lines, summary], int(bool(lines)))


def asked() -> dict[str, Any] | None:
    """pip-audit's answer about the locked packages."""
    command = [sys.executable, "-m", *COMMAND, "--requirement", str(LOCKED)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        return json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None


if __name__ == "__main__":
    verdict = audited(asked())
    sys.stdout.write("\n".join(verdict.lines) + "\n")
    sys.exit(verdict.status)
