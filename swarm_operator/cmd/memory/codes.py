"""Exit codes of the commands, and how they print errors."""

from __future__ import annotations

import sys
from typing import Final

from swarm_operator.cmd.memory.text import plain

OK: Final = 0
FAILED: Final = 1
NOT_FOUND: Final = 3
"""click uses 2, for invalid flags."""
INTERRUPTED: Final = 130
"""Exit code that shells show for a process ended by SIGINT (Ctrl-C): 128 + 2."""


def complain(what: object) -> int:
    """Say in one line on standard error what went wrong; gives FAILED."""
    print(f"swarm-memory: {plain(str(what))}", file=sys.stderr)  # noqa: T201 - this is a command line
    return FAILED
