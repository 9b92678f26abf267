"""What the client's commands share: where the service is, its token, how they print, and what they exit with."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from swarm_operator.cmd.memory.codes import OK, complain
from swarm_operator.cmd.memory.flags import Flags, path
from swarm_operator.cmd.memory.output import FORMATS, Output
from swarm_operator.cmd.memory.values import one_of, url, whole

if TYPE_CHECKING:  # the client imports aiohttp, which `serve` and `--help` would wait 0.1 s for
    from swarm_operator.memory.client import MemoryClient as MemoryClient
else:
    MemoryClient = Any

Command: TypeAlias = Callable[[argparse.Namespace, MemoryClient], Coroutine[Any, Any, int]]


_LAPTOP_TOKEN: Final = Path("data/tokens/client-token")
_LAPTOP_ADMIN_TOKEN: Final = Path("data/tokens/admin-token")


def add_client(
    commands: Any, name: str, run: Command, text: str, *, admin: bool = False, columns: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Add a command that asks the service.

    Args:
        commands: argparse's subparsers.
        name: of the command.
        run: gets the options, `out` among them, and a client; gives the exit code.
        text: what it does.
        admin: it takes the admin token.
        columns: of the table that its rows make.
    """
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=lambda options: _call(options, run, columns))
    add_connection(parser, admin=admin)
    _add_retries(Flags(parser))
    add_output(parser)
    return parser


def add_connection(parser: argparse.ArgumentParser, *, admin: bool = False) -> None:
    """Add `--url`, `--token-file` and `--ca-file`."""
    flag = Flags(parser)
    flag("--url", "SWARM_MEMORY_URL", "http://127.0.0.1:8080", url, "where the service is")
    _add_credentials(flag, admin=admin)


def add_service(flag: Flags, *, admin: bool = False) -> None:
    """Add the flags about a service besides its URL."""
    _add_credentials(flag, admin=admin)
    _add_retries(flag)


def _add_credentials(flag: Flags, *, admin: bool) -> None:
    laptop = _LAPTOP_ADMIN_TOKEN if admin else _LAPTOP_TOKEN
    variable = "SWARM_MEMORY_ADMIN_TOKEN_FILE" if admin else "SWARM_MEMORY_TOKEN_FILE"
    default = str(laptop) if laptop.exists() else ""
    flag("--token-file", variable, default, str, f"holds the token; default: {laptop}, if there")
    flag("--ca-file", "SWARM_MEMORY_CA_FILE", "", path, "holds the trusted CA certificates; default: the system's")


def _add_retries(flag: Flags) -> None:
    flag(
        "--retry-for", "SWARM_MEMORY_RETRY_FOR", "2", whole(0, 86_400),
        "seconds for which a request is tried again while the service is not there",
    )  # fmt: skip


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `--output`."""
    Flags(parser)(
        "--output", "SWARM_MEMORY_OUTPUT", "auto", one_of(*FORMATS),
        "table, json (one document a line), or auto: a table on a terminal, else json", short="-o",
    )  # fmt: skip


def _call(options: argparse.Namespace, run: Command, columns: Sequence[str]) -> int:
    from swarm_operator.memory import client as memory  # noqa: PLC0415 - after the flags are good

    options.out = Output(options.output, columns)

    async def command() -> int:
        token_file = Path(options.token_file) if options.token_file else None
        async with memory.MemoryClient(
            options.url, token_file=token_file, ca_file=options.ca_file, retry_for=options.retry_for
        ) as client:
            try:
                return await run(options, client)
            finally:
                options.out.flush()

    try:
        return asyncio.run(command())
    except (memory.MemoryClientError, ValueError) as error:  # ValueError: the URL, or a value that is not JSON
        return complain(error)
    except BrokenPipeError:  # `swarm-memory list ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
