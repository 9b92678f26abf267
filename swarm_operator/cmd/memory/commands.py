"""The table of the commands, and how one is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import click

import swarm_operator
from swarm_operator.cmd.memory.parsing import LazyGroup

_PROGRAM: Final = "swarm-memory"
_COMPLETE: Final = "_SWARM_MEMORY_COMPLETE"
"""Environment variable by which a shell asks for completions, as click names it."""
_EPILOG: Final = "Flags may also be given by the environment variables named in brackets; a flag wins."

_COMMANDS: Final = {
    "serving": "serve",
    "agent": "agent",
    "entries": "put get delete batch list namespaces",
    "finding": "search watch",
    "swarm": "agents tasks lease export import cleanup",
    "upkeep": "stats gc backup",
    "backups": "backups",
    "restoring": "restore restores",
    "migrating": "migrate",
    "checking": "check",
    "completion": "completion",
}
"""The commands of each module."""


@click.group(cls=LazyGroup, modules=_COMMANDS, context_settings={"max_content_width": 120}, epilog=_EPILOG)
@click.version_option(swarm_operator.__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Run or use a durable memory for swarms of agents: one SQLite file behind HTTP."""


def run(arguments: Sequence[str]) -> int:
    """Run a command, or print the completions that a shell asks for, and return the exit code."""
    if instruction := os.environ.get(_COMPLETE):
        from swarm_operator.cmd.memory.completion import complete  # noqa: PLC0415

        return complete(cli, _PROGRAM, _COMPLETE, instruction)
    try:
        with cli.make_context(_PROGRAM, list(arguments)) as context:
            code: int = cli.invoke(context)
            return code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
