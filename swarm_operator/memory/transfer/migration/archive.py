"""Copies the report and the quarantine of a migration to the destination of a swarm's backups.

The copies are at DESTINATION/SWARM/~migration, which is not a valid name of a backup.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import orjson

from swarm_operator.memory.transfer.backups.destination import PART, Destination
from swarm_operator.memory.transfer.backups.location import folder_of

_FOLDER: Final = "~migration"
_REPORT: Final = "report.json"
_QUARANTINE: Final = "quarantine.ndjson"


async def archive(destination: Destination, swarm_id: str, report: dict[str, Any]) -> None:
    """Copy a report and the quarantine file that it names. Replace the copies of an earlier run.

    Raises:
        DestinationError: the destination failed.
        OSError: the quarantine file can't be read.
    """
    folder = destination.below(f"{folder_of(swarm_id)}/{_FOLDER}")
    if report["quarantine"] is None:
        await folder.delete(_QUARANTINE)
    else:
        path = Path(report["quarantine"])
        size = (await asyncio.to_thread(path.stat)).st_size
        await folder.put(_QUARANTINE, _read(path), size)
        report = {**report, "quarantine": f"{folder.url}/{_QUARANTINE}"}
    text = orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    await folder.put(_REPORT, _whole(text), len(text))


async def _read(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while part := await asyncio.to_thread(file.read, PART):
            yield part


async def _whole(text: bytes) -> AsyncIterator[bytes]:
    yield text
