"""`swarm-memory restore`: restores a backup into a running service, whole or in part."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from swarm_operator.cmd.memory.calling import MemoryClient, asks
from swarm_operator.cmd.memory.codes import FAILED, OK, complain
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import Words
from swarm_operator.cmd.memory.progress import bar


@asks("restore", admin=True)
@click.argument("backup", help="name of a backup at the service's destination, or its URL")
@click.option("--name", help="name of the restore, which makes a repeated call safe; default: the time")
@click.option("--namespaces", cls=Words, metavar="NAMESPACE...", help="restore entries in these namespaces only")
@click.option("--key-prefix", default="", metavar="PREFIX", help="restore keys with this prefix only")
@click.option("--dry-run", is_flag=True, help="only report what would change")
@click.option("--allow-other-swarm", is_flag=True, help="allow a backup of another swarm")
@click.option(
    "--safety-backup/--no-safety-backup", default=None,
    help="back up the replaced data; default: if everything is restored",
)  # fmt: skip
async def restore(
    client: MemoryClient, out: Output, backup: str, name: str | None, namespaces: tuple[str, ...], **options: Any
) -> int:
    """Restore a backup into a running service; needs the admin token."""
    name = name or f"restore-{datetime.now(UTC):%Y%m%dt%H%M%S%fz}"
    options["location" if "://" in backup else "backup"] = backup
    await client.restores.ask(name, namespaces=namespaces or None, **options)
    with bar("restore", of_bytes=False) as show:

        def progress(state: Any) -> None:
            if show is not None and state.progress is not None and state.progress["of"]:
                show(state.progress["done"], state.progress["of"])

        state = await client.restores.wait(name, progress=progress)
    if state is None:
        return complain(f"the service does not know the restore {name} any more")
    out.document(state.raw)
    if state.problem is not None:
        return complain(f"{state.problem['code']}: {state.problem['detail']}")
    return OK if state.phase == "Completed" else FAILED


@asks(
    "restores", admin=True,
    columns=("name", "phase", "backup", "dry_run", "started_at", "completed_at", "safety_backup", "problem"),
)  # fmt: skip
async def restores(client: MemoryClient, out: Output) -> int:
    """List the last restores of a running service; needs the admin token."""
    for state in await client.restores.list():
        out.row(state.raw)
    return OK
