"""Prometheus' own judgement: promtool, and the CRDs of the Prometheus operator."""

from __future__ import annotations

import subprocess
from pathlib import Path

_BUILD = Path(__file__).parent / "promtool" / "build.sh"


def promtool() -> Path:
    """Where the program is."""
    return Path(subprocess.run([_BUILD], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def complaints(page: str) -> list[str]:
    """What `promtool check metrics` says of a page of metrics, a line each."""
    done = subprocess.run(
        [promtool(), "check", "metrics"], input=page, capture_output=True, text=True, check=False, timeout=60
    )
    found = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert bool(found) == (done.returncode != 0), (done.returncode, found)
    return found


def custom_resource_definitions() -> str:
    """The CRDs of ServiceMonitor and PodMonitor."""
    folder = Path(subprocess.run([_BUILD, "crds"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
    kinds = ("servicemonitors", "podmonitors")
    return "---\n".join((folder / f"monitoring.coreos.com_{kind}.yaml").read_text() for kind in kinds)
