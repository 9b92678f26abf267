"""`swarm-memory`: the memory service, and a client for it on the command line. Flags and wiring only.

A module for each group of commands, which is imported when one of its commands is called or listed. Each command
imports what it needs when it runs: `swarm-memory get` must not pay for the server's imports.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import swarm_operator
from swarm_operator.cmd.memory.codes import INTERRUPTED, complain

__all__ = ["main", "program"]


def program() -> NoReturn:
    """Run the command line and end the process.

    The process ends without the interpreter's own end, which takes apart every module: for half as long as a command
    takes, and while the successor of a service waits. What a command has opened is closed when `main` returns.
    """
    code = main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # which reports what could not be written
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0: done, 1: failed, 2: a flag is not allowed, 3: no such entry, 130: interrupted by Ctrl-C.
    """
    try:
        from swarm_operator.cmd.memory.commands import run  # noqa: PLC0415 - the packages it needs may be missing

        return run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(swarm_operator.__name__):
            raise
        return complain(
            f"the Python package {error.name} is missing; install swarm-operator[cli] for the client's commands, "
            "swarm-operator[memory] for all"
        )
