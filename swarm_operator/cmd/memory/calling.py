"""Commands that ask a service: where it is, its token, how they print, and what they exit with."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from swarm_operator.cmd.memory.codes import OK, complain
from swarm_operator.cmd.memory.flags import OUTPUT, RETRIES, connection
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import command

if TYPE_CHECKING:  # the client imports aiohttp, which `serve` and `--help` would wait 0.1 s for
    from swarm_operator.memory.client import MemoryClient as MemoryClient
else:
    MemoryClient = Any

Run: TypeAlias = Callable[..., Coroutine[Any, Any, int]]


def asks(name: str, *, admin: bool = False, columns: Sequence[str] = ()) -> Callable[[Run], click.Command]:
    """Make a coroutine function a command that asks the service.

    It gets a client, what prints, and the command's own parameters; it returns the exit code.

    Args:
        name: of the command.
        admin: it takes the admin token.
        columns: of the table that its rows make.
    """

    def make(run: Run) -> click.Command:
        @command(name)
        @connection(admin=admin)
        @RETRIES
        @OUTPUT
        @functools.wraps(run)
        def call(
            url: str, token_file: Path | None, ca_file: Path | None, retry_for: int, output: str, **parameters: Any
        ) -> int:
            import asyncio  # noqa: PLC0415 - `--help` imports all modules of commands

            from swarm_operator.memory import client as memory  # noqa: PLC0415 - after the flags are good

            out = Output(output, columns)

            async def ask() -> int:
                async with memory.MemoryClient(
                    url, token_file=token_file, ca_file=ca_file, retry_for=retry_for
                ) as client:
                    try:
                        return await run(client, out, **parameters)
                    finally:
                        out.flush()

            try:
                return asyncio.run(ask())
            except (memory.MemoryClientError, ValueError) as error:  # ValueError: the URL, or a value that is not JSON
                return complain(error)
            except BrokenPipeError:  # `swarm-memory list ... | head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return OK

        return call

    return make
