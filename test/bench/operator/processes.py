"""What processes take: CPU time, memory, files, threads, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(*pids: int) -> float:
    """User and system time that the processes have taken so far, all threads."""
    total = 0
    for pid in pids:
        # The name, in parentheses, may hold blanks; utime and stime are the 12th and 13th field behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def memory(pid: int) -> tuple[float, float]:
    """Resident memory in MB of 10^6 bytes: now, and the most there was."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return kib["VmRSS"] * 1024 / 1e6, kib["VmHWM"] * 1024 / 1e6


def open_files(pid: int) -> int:
    """Number of open file descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    """Number of threads."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
