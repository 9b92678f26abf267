"""States of restores: request, progress and outcome. A small file stores the latest states."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from swarm_operator.memory.atomicfile import AtomicFile
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.transfer.backups.jobs import Failure
from swarm_operator.memory.transfer.backups.manifest import check_name
from swarm_operator.memory.transfer.restores.scope import Scope

MAX_REMEMBERED: Final = 100
"""Maximum number of restores in the file, besides those whose safety backup failed; the oldest are dropped."""
_MAX_LOCATION: Final = 2048


class Phase(StrEnum):
    """Phase of a restore."""

    FETCHING = "Fetching"
    """The backup is being copied beside the database and verified."""
    PLANNING = "Planning"
    """The backup and the store are being compared."""
    VERIFYING = "Verifying"
    """The copy is being migrated, given higher versions, and checked again."""
    BACKING_UP = "BackingUp"
    """The safety backup is being made; in a complete restore from the former data, after the exchange of the files."""
    SWAPPING = "Swapping"
    """The files are being exchanged while writes wait."""
    WRITING = "Writing"
    COMPLETED = "Completed"
    FAILED = "Failed"

    @property
    def ended(self) -> bool:
        """Return whether the restore is not running."""
        return self in {Phase.COMPLETED, Phase.FAILED}


@dataclass(frozen=True, slots=True)
class Request:
    """Request for a restore.

    Attributes:
        backup: name of a backup at the service's destination; None: `location` is given.
        location: URL of a backup.
        scope: the entries to restore.
        dry_run: only compare.
        allow_other_swarm: whether the backup may belong to another swarm.
        safety_backup: whether to back up the replaced data; None: only for a complete restore.
    """

    backup: str | None
    location: str | None
    scope: Scope
    dry_run: bool = False
    allow_other_swarm: bool = False
    safety_backup: bool | None = None

    @classmethod
    def create(
        cls,
        *,
        backup: Any = None,
        location: Any = None,
        namespaces: Any = None,
        key_prefix: Any = None,
        dry_run: Any = False,
        allow_other_swarm: Any = False,
        safety_backup: Any = None,
    ) -> Request:
        """Return a checked request. Raise InvalidInputError."""
        if (backup is None) == (location is None):
            raise InvalidInputError("backup", "required, or location instead of it")
        if backup is not None:
            check_name(backup, "backup")
        elif type(location) is not str or not 0 < len(location) <= _MAX_LOCATION:
            raise InvalidInputError("location", f"the URL of a backup, of at most {_MAX_LOCATION} characters")
        flags = {"dry_run": dry_run, "allow_other_swarm": allow_other_swarm, "safety_backup": safety_backup}
        for name, value in flags.items():
            if type(value) is not bool and not (value is None and name == "safety_backup"):
                raise InvalidInputError(name, "true or false")
        scope = Scope.create(namespaces, key_prefix)
        return cls(backup, location, scope, dry_run, allow_other_swarm, safety_backup)

    @property
    def needs_safety_backup(self) -> bool:
        """Return whether the replaced data are backed up."""
        if self.dry_run:
            return False
        return self.scope.whole if self.safety_backup is None else self.safety_backup


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes of a restore.

    Attributes:
        backup: name of the backup.
        entries: entries of the backup, including uncollected expired ones.
        bytes: bytes of the written values; for a complete restore, bytes of the backup.
        entries_new: created entries; None for a complete restore, which does not compare.
        entries_changed: overwritten entries; None for a complete restore.
        entries_removed: deleted entries; None for a complete restore.
    """

    backup: str
    entries: int
    bytes: int
    entries_new: int | None = None
    entries_changed: int | None = None
    entries_removed: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a phase: bytes of the copy, or compared entries."""

    done: int
    of: int


@dataclass(slots=True)
class State:
    """Current state of a restore.

    Attributes:
        name: name of the restore.
        request: the request.
        phase: current phase.
        started_at: time of the request, RFC 3339.
        completed_at: time of the end; None while the restore runs.
        safety_backup: name of the backup of the replaced data; None if none was made.
        plan: the changes; None if not known yet.
        failure: reason of the failure; None if there was none.
        progress: progress of the phase; None if not known.
        position: the feed's position after the exchange of the files; None before the exchange. If the restore has
            ended, the files were exchanged unless `position` is None.
    """

    name: str
    request: Request
    phase: Phase
    started_at: str
    completed_at: str | None = None
    safety_backup: str | None = None
    plan: Plan | None = None
    failure: Failure | None = None
    progress: Progress | None = None
    position: int | None = None


async def load(file: Path) -> list[State]:
    """Return the states in a file; none if the file is missing or was not written by this program."""
    try:
        text = await asyncio.to_thread(file.read_bytes)
        return [_state(each) for each in json.loads(text)["restores"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


async def save(file: Path, states: Sequence[State]) -> None:
    """Write the states to a file. Raise OSError."""
    text = json.dumps({"restores": [asdict(state) | {"progress": None} for state in states]}).encode()
    await asyncio.to_thread(_write, file, text)


def _write(file: Path, text: bytes) -> None:
    new = AtomicFile.create(file, replace=True)
    try:
        new.path.write_bytes(text)
        new.publish()
    finally:
        new.discard()


def _state(document: dict[str, Any]) -> State:
    request = document["request"]
    namespaces = request["scope"]["namespaces"]
    scope = Scope(None if namespaces is None else tuple(namespaces), request["scope"]["key_prefix"])
    return State(**{
        **document,
        "request": Request(**{**request, "scope": scope}),
        "phase": Phase(document["phase"]),
        "plan": document["plan"] and Plan(**document["plan"]),
        "failure": document["failure"] and Failure(**document["failure"]),
    })  # fmt: skip
