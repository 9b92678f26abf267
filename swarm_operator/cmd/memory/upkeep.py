"""Commands about the service: stats, gc, backup."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from swarm_operator.cmd.memory.calling import MemoryClient, add_client
from swarm_operator.cmd.memory.codes import OK, complain
from swarm_operator.cmd.memory.progress import bar


def add(commands: Any) -> None:
    """Add them."""
    add_client(commands, "stats", _stats, "print counts, sizes and settings")
    add_client(commands, "gc", _gc, "collect expired entries now; needs the admin token", admin=True)
    backup = add_client(
        commands, "backup", _backup, "copy the database of a running service into a file; needs the admin token",
        admin=True,
    )  # fmt: skip
    backup.add_argument("file", metavar="FILE", type=Path, help="is not there yet, and is there when all of it is")


async def _stats(options: argparse.Namespace, client: MemoryClient) -> int:
    options.out.document((await client.stats()).raw)
    return OK


async def _gc(options: argparse.Namespace, client: MemoryClient) -> int:
    options.out.document(await client.gc())
    return OK


async def _backup(options: argparse.Namespace, client: MemoryClient) -> int:
    try:
        with bar("backup", of_bytes=True) as progress:
            size = await client.backup(options.file, progress=progress)
    except OSError as error:
        return complain(f"{options.file}: {error.strerror or error}")
    name = shlex.quote(str(options.file))
    options.out.document({
        "file": str(options.file),
        "size": size,
        "check": f"swarm-memory check {name}",
        "restore": f"stop the service, then: rm -f DATA_DIR/swarm-memory.db-wal DATA_DIR/swarm-memory.db-shm && "
        f"cp {name} DATA_DIR/swarm-memory.db",
    })  # fmt: skip
    return OK
