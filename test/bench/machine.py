"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
from pathlib import Path


def machine(*versions: str) -> list[str]:
    """Lines for a report.

    Args:
        versions: of what was measured; one that ends with `--version` is a command, of whose answer the first line
            counts.
    """
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    told = [_first_line(version) if version.endswith("--version") else version for version in versions]
    return [
        f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "; ".join([*told, f"Python {platform.python_version()}"]),
        f"load average at the start: {load}",
    ]


def _first_line(command: str) -> str:
    done = subprocess.run(shlex.split(command), check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.partition("\n")[0]
