"""Tools for backups, named as in claude-flow: files in `backups` next to the database. Require the admin token."""

from __future__ import annotations

import asyncio
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from swarm_operator.memory.core.errors import DiskFullError, InvalidInputError, from_os
from swarm_operator.memory.service.access import audit
from swarm_operator.memory.service.access.rights import ADMIN
from swarm_operator.memory.service.json_schema import object_of, one_of, text
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool, naming
from swarm_operator.memory.transfer.importer import Existing, Outcome
from swarm_operator.memory.transfer.restore import restore

FOLDER: Final = "backups"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAMED: Final = "a file's name: letters, digits and ._-, at most 128, in the folder backups beside the database"
_MAX_NAMED: Final = 10
_COUNTED: Final = (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.KEPT)


async def _backup(call: Call, arguments: Arguments) -> dict[str, Any]:
    moment = datetime.fromtimestamp(call.store.now() / 1000, UTC)
    name = arguments.get("path", f"swarm-memory-{moment:%Y%m%dT%H%M%SZ}.db")
    target = _place(call, "path", name)
    size = (await call.store.stats()).database_size_bytes
    await asyncio.to_thread(_make_room, target.parent, size)
    done = await call.store.backup(target)
    return {"path": name, "size_bytes": done.size}


async def _restore(call: Call, arguments: Arguments) -> dict[str, Any]:
    source = _place(call, "backupPath", arguments["backupPath"])
    names = await asyncio.to_thread(_newest, source.parent)
    if not source.is_file():
        there = (
            f"one of the backups, the newest of which are {', '.join(names)}" if names else "a backup: there is none"
        )
        raise InvalidInputError("backupPath", there)
    existing = Existing(arguments.get("existing", Existing.OVERWRITE))
    audit.record("restore", call.credential.principal.name, path=source.name)
    with naming(backup="backupPath"), call.restores.holding(ADMIN):
        done = await restore(call.store, source, call.data_dir, existing=existing)
    return {outcome.name.lower(): done.counts.get(outcome, 0) for outcome in _COUNTED}


def _place(call: Call, argument: str, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(argument, _NAMED)
    return call.data_dir / FOLDER / name


def _make_room(folder: Path, size: int) -> None:
    """Create the folder. Raise DiskFullError if the backup would leave less free space than the database's size."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise from_os(error, f"the folder {FOLDER}") from error
    if free < 2 * size:
        raise DiskFullError(f"a backup takes {size} bytes and must leave as many, and {free} are free")


def _newest(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_file()]
    return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[:_MAX_NAMED]]


TOOLS: Final = (
    Tool(
        "memory_backup",
        "Copy the whole memory to a file in the folder backups next to the database. The copy is verified and on disk "
        "when the call returns. Requires the admin token.",
        "backup",
        object_of({"path": text("Name of the file; if omitted, a name with the time.", most=128)}),
        _backup,
        admin=True,
    ),
    Tool(
        "memory_restore",
        "Write the entries of a backup back while others keep working. Entries that differ are overwritten, unless "
        "existing is keep, or newer and the stored entry is newer. Entries that the backup lacks stay. Requires the "
        "admin token.",
        "import",
        object_of(
            {
                "backupPath": text("path in the answer of memory_backup.", most=128),
                "existing": {
                    **one_of("What to do with entries that differ.", *Existing),
                    "default": Existing.OVERWRITE,
                },
            },
            ("backupPath",),
        ),
        _restore,
        admin=True,
        destructive=True,
        idempotent=True,
    ),
)
