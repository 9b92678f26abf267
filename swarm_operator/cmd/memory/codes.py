"""What the commands exit with, and how they say what went wrong."""

from __future__ import annotations

import sys
from typing import Final

from swarm_operator.cmd.memory.text import plain

OK: Final = 0
FAILED: Final = 1
NOT_FOUND: Final = 3
"""2 is click's, for flags that are not allowed."""
INTERRUPTED: Final = 130
"""What shells make of a process that ended by SIGINT (Ctrl-C): 128 + 2."""


def complain(what: object) -> int:
    """Say in one line on standard error what went wrong; gives FAILED."""
    print(f"swarm-memory: {plain(str(what))}", file=sys.stderr)  # noqa: T201 - this is a command line
    return FAILED
