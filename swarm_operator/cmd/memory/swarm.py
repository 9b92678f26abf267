"""Commands about the swarm as a whole: agents, tasks, export, import, cleanup."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from swarm_operator.cmd.memory.calling import MemoryClient, add_client
from swarm_operator.cmd.memory.codes import NOT_FOUND, OK, complain
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.progress import bar
from swarm_operator.cmd.memory.values import interval, one_of, switch
from swarm_operator.memory.atomicfile import AtomicFile, remove_stale

TASK_STATUSES: Final = ("pending", "in_progress", "completed", "failed", "cancelled")
"""Those of memory.swarm.tasks.rules, which imports what only the service needs."""


def add(commands: Any) -> None:
    """Add them."""
    agents = add_client(
        commands,
        "agents",
        _agents,
        "print the swarm's agents, one a line",
        columns=("id", "type", "status", "capabilities", "last_seen"),
    )
    tasks = add_client(
        commands,
        "tasks",
        _tasks,
        "print the swarm's tasks, one a line",
        columns=("id", "type", "status", "priority", "agent", "description"),
    )
    agents.add_argument("--status", help="only those of this status")
    tasks.add_argument(
        "--status", type=one_of(*TASK_STATUSES), metavar="STATUS",
        help=f"only those of this status: {', '.join(TASK_STATUSES)}",
    )  # fmt: skip
    for command in (agents, tasks):
        command.add_argument("--type", help="only those of this type")
    agents.add_argument("--capability", help="only those that have it")
    agents.add_argument("--stale", type=switch, default=None, metavar="BOOL", help="whether they were silent for long")
    tasks.add_argument("--agent", help="only those that it has claimed, or that are assigned to it")
    lease = add_client(
        commands, "lease", _lease, "claim, renew, release or print a lease, such as queen",
        columns=("id", "holder", "term", "held", "leaseExpiresAt"),
    )  # fmt: skip
    lease.add_argument("action", choices=("claim", "renew", "release", "get"), help="what to do")
    lease.add_argument("name", metavar="NAME", help="name of the lease")
    lease.add_argument("--agent", help="the agent that holds it; needed but for get")
    lease.add_argument("--lease", type=interval, metavar="TIME", help="how long it lasts: 30s, or seconds; 30 seconds")
    export = add_client(commands, "export", _export, "print the swarm's entries as lines of JSON, or write a file")
    export.add_argument(
        "file", metavar="FILE", nargs="?", default="-",
        help="is not there yet, and is there when all of it is; default: -, standard output",
    )  # fmt: skip
    export.add_argument(
        "--all", action="store_true", help="of all namespaces, not only of those that start with swarm:"
    )
    export.add_argument("--namespace", action="append", default=[], help="only of this one; may be repeated")
    imports = add_client(commands, "import", _import, "write what export printed; may be repeated")
    imports.add_argument("file", metavar="FILE", help="- is the standard input")
    imports.add_argument(
        "--existing", choices=("overwrite", "keep", "newer"), default="overwrite",
        help="what becomes of entries that are there with another value (default: overwrite)",
    )  # fmt: skip
    cleanup = add_client(
        commands, "cleanup", _cleanup, "delete old messages, completed tasks and metrics; needs the admin token",
        admin=True,
    )  # fmt: skip
    cleanup.add_argument("--max-age", type=interval, metavar="AGE", help="what counts as old: 168h, or seconds; 7 days")
    cleanup.add_argument("--dry-run", action="store_true", help="only count")


async def _agents(options: argparse.Namespace, client: MemoryClient) -> int:
    filters = {name: getattr(options, name) for name in ("status", "type", "capability", "stale")}
    async for agent in client.agents.iterate(**filters):
        options.out.row(agent)
    return OK


async def _tasks(options: argparse.Namespace, client: MemoryClient) -> int:
    async for task in client.tasks.iterate(**{name: getattr(options, name) for name in ("status", "type", "agent")}):
        options.out.row(task)
    return OK


async def _lease(options: argparse.Namespace, client: MemoryClient) -> int:
    if options.action == "get":
        found = await client.leases.get(options.name)
        if found is None:
            complain(f"NAME: there is no lease {options.name!r}; claim makes it")
            return NOT_FOUND
        options.out.row(found)
        return OK
    if not options.agent:
        return complain(f"--agent: is missing; {options.action} needs the agent")
    lasting = {} if options.action == "release" else {"lease": options.lease}
    options.out.row(await getattr(client.leases, options.action)(options.name, agent=options.agent, **lasting))
    return OK


async def _export(options: argparse.Namespace, client: MemoryClient) -> int:
    lines = client.swarm.export(namespaces=options.namespace, everything=options.all)
    if options.file != "-":
        return await _export_to(Path(options.file), lines, options.out)
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


async def _import(options: argparse.Namespace, client: MemoryClient) -> int:
    try:
        # The files of a command line are as slow as they are, and nothing else runs in this process.
        with contextlib.ExitStack() as stack:
            standard = options.file == "-"
            lines = sys.stdin.buffer if standard else stack.enter_context(Path(options.file).open("rb"))  # noqa: ASYNC230
            size = 0 if standard else os.fstat(lines.fileno()).st_size
            progress = stack.enter_context(bar("import", of_bytes=True)) if size else None
            counted = lines if progress is None else _telling(lines, size, progress)
            options.out.document(await client.swarm.import_(counted, existing=options.existing))
            return OK
    except OSError as error:
        return complain(f"{options.file}: {error.strerror}")


def _telling(lines: Iterable[bytes], size: int, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    sent = 0
    for line in lines:
        yield line
        sent += len(line)
        progress(sent, size)


async def _cleanup(options: argparse.Namespace, client: MemoryClient) -> int:
    options.out.document(await client.swarm.cleanup(max_age=options.max_age, dry_run=options.dry_run))
    return OK
