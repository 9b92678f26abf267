"""Commands about the service: stats, gc, backup."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from swarm_operator.cmd.memory.calling import MemoryClient, asks
from swarm_operator.cmd.memory.codes import OK, complain
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import FILE
from swarm_operator.cmd.memory.progress import bar


@asks("stats")
async def stats(client: MemoryClient, out: Output) -> int:
    """Print counts, sizes and settings."""
    out.document((await client.stats()).raw)
    return OK


@asks("gc", admin=True)
async def gc(client: MemoryClient, out: Output) -> int:
    """Collect expired entries now; needs the admin token."""
    out.document(await client.gc())
    return OK


@asks("backup", admin=True)
@click.argument("file", type=FILE, help="new file")
async def backup(client: MemoryClient, out: Output, file: Path) -> int:
    """Copy the database of a running service into a file; needs the admin token."""
    try:
        with bar("backup", of_bytes=True) as progress:
            size = await client.backup(file, progress=progress)
    except OSError as error:
        return complain(f"{file}: {error.strerror or error}")
    name = shlex.quote(str(file))
    out.document({
        "file": str(file),
        "size": size,
        "check": f"swarm-memory check {name}",
        "restore": f"stop the service, then: rm -f DATA_DIR/swarm-memory.db-wal DATA_DIR/swarm-memory.db-shm && "
        f"cp {name} DATA_DIR/swarm-memory.db",
    })  # fmt: skip
    return OK
