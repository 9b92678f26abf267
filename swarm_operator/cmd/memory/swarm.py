"""Commands about the swarm as a whole: agents, tasks, export, import, cleanup."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from swarm_operator.cmd.memory.calling import MemoryClient, asks
from swarm_operator.cmd.memory.codes import NOT_FOUND, OK, complain
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import FILE, STANDARD, OneOf
from swarm_operator.cmd.memory.progress import bar
from swarm_operator.cmd.memory.values import interval, switch
from swarm_operator.memory.atomicfile import AtomicFile, remove_stale

TASK_STATUSES: Final = ("pending", "in_progress", "completed", "failed", "cancelled")
"""The statuses of memory.swarm.tasks.rules, whose imports only the service needs."""


@asks("agents", columns=("id", "type", "status", "capabilities", "last_seen"))
@click.option("--status", help="only agents with this status")
@click.option("--type", help="only agents of this type")
@click.option("--capability", help="only agents with this capability")
@click.option(
    "--stale", type=switch, metavar="BOOL", help="only agents with (true) or without (false) an old heartbeat"
)
async def agents(client: MemoryClient, out: Output, **which: Any) -> int:
    """Print the swarm's agents, one a line."""
    async for agent in client.agents.iterate(**which):
        out.row(agent)
    return OK


@asks("tasks", columns=("id", "type", "status", "priority", "agent", "description"))
@click.option(
    "--status", type=OneOf(*TASK_STATUSES), metavar="STATUS",
    help=f"only tasks with this status: {', '.join(TASK_STATUSES)}",
)  # fmt: skip
@click.option("--type", help="only tasks of this type")
@click.option("--agent", help="only tasks claimed by or assigned to this agent")
async def tasks(client: MemoryClient, out: Output, **which: Any) -> int:
    """Print the swarm's tasks, one a line."""
    async for task in client.tasks.iterate(**which):
        out.row(task)
    return OK


@asks("lease", columns=("id", "holder", "term", "held", "leaseExpiresAt"))
@click.argument("action", type=OneOf("claim", "renew", "release", "get"), help="what to do with the lease")
@click.argument("name", help="name of the lease")
@click.option("--agent", help="the agent that holds the lease; required except for get")
@click.option(
    "--lease", "lasts", type=interval, metavar="TIME", help="duration of the lease: 30s, or seconds; default: 30s"
)
async def lease(
    client: MemoryClient, out: Output, action: str, name: str, agent: str | None, lasts: float | None
) -> int:
    """Claim, renew, release or print a lease, such as queen."""
    if action == "get":
        found = await client.leases.get(name)
        if found is None:
            complain(f"NAME: there is no lease {name!r}; claim makes it")
            return NOT_FOUND
        out.row(found)
        return OK
    if not agent:
        return complain(f"--agent: is missing; {action} needs the agent")
    lasting = {} if action == "release" else {"lease": lasts}
    out.row(await getattr(client.leases, action)(name, agent=agent, **lasting))
    return OK


@asks("export")
@click.argument("file", type=FILE, default="-", help="new file; default: -, standard output")
@click.option("--all", "everything", is_flag=True, help="all namespaces, not only those that start with swarm:")
@click.option("--namespace", "namespaces", multiple=True, help="only this namespace; may be repeated")
async def export(client: MemoryClient, out: Output, file: Path, **which: Any) -> int:
    """Print the swarm's entries as lines of JSON, or write a file."""
    lines = client.swarm.export(**which)
    if file != STANDARD:
        return await _export_to(file, lines, out)
    async for line in lines:
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return OK


async def _export_to(target: Path, lines: AsyncIterator[bytes], out: Output) -> int:
    """Write a file that is there when it is complete, and not after an error or Ctrl-C."""
    number = 0
    try:
        remove_stale(target.parent)
        file = AtomicFile.create(target)
        try:
            with file.path.open("wb") as opened:  # nothing else runs in this process
                async for line in lines:
                    opened.write(line)
                    number += 1
            file.publish()
        finally:
            file.discard()
    except OSError as error:
        return complain(f"{target}: {error.strerror or error}")
    out.document({"file": str(target), "lines": number})
    return OK


@asks("import")
@click.argument("file", type=FILE, help="file to read; -: standard input")
@click.option(
    "--existing", type=OneOf("overwrite", "keep", "newer"), default="overwrite", show_default=True,
    help="which value to use if the memory has another",
)  # fmt: skip
async def import_(client: MemoryClient, out: Output, file: Path, existing: str) -> int:
    """Write what export printed; may be repeated."""
    try:
        # The files of a command line are as slow as they are, and nothing else runs in this process.
        with contextlib.ExitStack() as stack:
            lines = sys.stdin.buffer if file == STANDARD else stack.enter_context(file.open("rb"))
            size = 0 if file == STANDARD else os.fstat(lines.fileno()).st_size
            progress = stack.enter_context(bar("import", of_bytes=True)) if size else None
            counted = lines if progress is None else _telling(lines, size, progress)
            out.document(await client.swarm.import_(counted, existing=existing))
            return OK
    except OSError as error:
        return complain(f"{file}: {error.strerror}")


def _telling(lines: Iterable[bytes], size: int, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    sent = 0
    for line in lines:
        yield line
        sent += len(line)
        progress(sent, size)


@asks("cleanup", admin=True)
@click.option("--max-age", type=interval, metavar="AGE", help="minimum age: 168h, or seconds; default: 168h")
@click.option("--dry-run", is_flag=True, help="only count")
async def cleanup(client: MemoryClient, out: Output, **how: Any) -> int:
    """Delete old messages, completed tasks and metrics; needs the admin token."""
    out.document(await client.swarm.cleanup(**how))
    return OK
