"""`swarm-memory`: the memory service, and a client for it on the command line. Flags and wiring only.

A module for each group of commands. Each command imports what it needs when it runs: `swarm-memory get` must not pay
for the server's imports.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import swarm_operator
from swarm_operator.cmd.memory import (
    agent,
    backups,
    checking,
    completing,
    entries,
    finding,
    migrating,
    restoring,
    serving,
    swarm,
    upkeep,
)
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
        options = _parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(swarm_operator.__name__):
            raise
        return complain(
            f"the Python package {error.name} is missing; install swarm-operator[cli] for the client's commands, "
            "swarm-operator[memory] for all"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swarm-memory",
        description="A durable memory for swarms of agents: one SQLite file behind HTTP.",
        epilog="Flags may also be given by the environment variables named in brackets; a flag wins.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {swarm_operator.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in (serving, agent, entries, finding, swarm, upkeep, backups, restoring, migrating, checking):
        module.add(commands)
    completing.add(commands, parser)
    return parser
