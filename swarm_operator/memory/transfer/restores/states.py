"""States of restores: what was asked for, how far it is, how it ended. A small file remembers the last ones."""

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
    """The backup is copied beside the database and verified."""
    PLANNING = "Planning"
    """The backup and the store are compared."""
    VERIFYING = "Verifying"
    """The copy is migrated, its versions are raised, and it is checked again."""
    BACKING_UP = "BackingUp"
    """The safety backup is made: of a whole restore of the former data, after the files were exchanged."""
    SWAPPING = "Swapping"
    """The files are exchanged, while writes wait."""
    WRITING = "Writing"
    COMPLETED = "Completed"
    FAILED = "Failed"

    @property
    def ended(self) -> bool:
        """Return whether the restore is not running."""
        return self in {Phase.COMPLETED, Phase.FAILED}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes:
        backup: name of a backup at the service's destination; None: `location` is given.
        location: URL of a backup.
        scope: the entries to restore.
        dry_run: only compare.
        allow_other_swarm: whether the backup may belong to another swarm.
        safety_backup: whether a backup of what is replaced is made; None: for a whole restore.
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
            raise InvalidInputError("backup", "given, or location instead of it")
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
        """Return whether a backup of what is replaced is made."""
        if self.dry_run:
            return False
        return self.scope.whole if self.safety_backup is None else self.safety_backup


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore changes.

    Attributes:
        backup: name of the backup.
        entries: entries of the backup, including uncollected expired ones.
        bytes: bytes of the values that are written; of a whole restore the bytes of the backup.
        entries_new: entries that come; None: a whole restore does not compare.
        entries_changed: entries that are overwritten; None likewise.
        entries_removed: entries that are deleted; None likewise.
    """

    backup: str
    entries: int
    bytes: int
    entries_new: int | None = None
    entries_changed: int | None = None
    entries_removed: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase is: bytes of the copy, or compared entries."""

    done: int
    of: int


@dataclass(slots=True)
class State:
    """A restore as it is now.

    Attributes:
        name: name of the restore.
        request: what was asked for.
        phase: its phase.
        started_at: time of the request, RFC 3339.
        completed_at: time of its end; None: it runs.
        safety_backup: name of the backup of what was replaced; None: none was made.
        plan: what it changes; None: not known yet.
        failure: why it failed.
        progress: how far its phase is; None: not known.
        position: position that the store's feed has after the files are exchanged; None: they are not exchanged yet.
            When the restore has ended, they are exchanged unless it is None.
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
