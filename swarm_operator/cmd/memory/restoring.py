"""`swarm-memory restore`: restores a backup into a running service, whole or in part."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from swarm_operator.cmd.memory.calling import MemoryClient, add_client
from swarm_operator.cmd.memory.codes import FAILED, OK, complain
from swarm_operator.cmd.memory.progress import bar


def add(commands: Any) -> None:
    """Add `restore` and `restores`."""
    command = add_client(
        commands, "restore", _restore, "restore a backup into a running service; needs the admin token", admin=True
    )
    command.add_argument("backup", metavar="BACKUP", help="name of a backup at the service's destination, or its URL")
    command.add_argument("--name", help="name of the restore, by which it is made once; default: the time")
    command.add_argument(
        "--namespaces", nargs="+", metavar="NAMESPACE", help="restore entries in these namespaces only"
    )
    command.add_argument("--key-prefix", default="", metavar="PREFIX", help="restore keys with this prefix only")
    command.add_argument("--dry-run", action="store_true", help="only say what would change")
    command.add_argument("--allow-other-swarm", action="store_true", help="take a backup of another swarm")
    command.add_argument(
        "--safety-backup",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="back up what is replaced; default: if everything is restored",
    )
    add_client(
        commands, "restores", _list, "list the last restores of a running service; needs the admin token", admin=True,
        columns=("name", "phase", "backup", "dry_run", "started_at", "completed_at", "safety_backup", "problem"),
    )  # fmt: skip


async def _restore(options: argparse.Namespace, client: MemoryClient) -> int:
    name = options.name or f"restore-{datetime.now(UTC):%Y%m%dt%H%M%S%fz}"
    place = "location" if "://" in options.backup else "backup"
    await client.restores.ask(
        name, **{place: options.backup}, namespaces=options.namespaces, key_prefix=options.key_prefix,
        dry_run=options.dry_run, allow_other_swarm=options.allow_other_swarm, safety_backup=options.safety_backup,
    )  # fmt: skip
    with bar("restore", of_bytes=False) as show:

        def progress(state: Any) -> None:
            if show is not None and state.progress is not None and state.progress["of"]:
                show(state.progress["done"], state.progress["of"])

        state = await client.restores.wait(name, progress=progress)
    if state is None:
        return complain(f"the service does not know the restore {name} any more")
    options.out.document(state.raw)
    if state.problem is not None:
        return complain(f"{state.problem['code']}: {state.problem['detail']}")
    return OK if state.phase == "Completed" else FAILED


async def _list(options: argparse.Namespace, client: MemoryClient) -> int:
    for state in await client.restores.list():
        options.out.row(state.raw)
    return OK
