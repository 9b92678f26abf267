"""Results of the readers of sources: items to migrate, refusals for the quarantine, and notices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from swarm_operator.memory.core.entry import Draft


class Kind(StrEnum):
    """Kind of an item, for the counts of the report."""

    ENTRY = "entry"
    AGENT = "agent"
    TASK = "task"
    PATTERN = "pattern"
    CONSENSUS = "consensus"
    SWARM = "swarm"
    MESSAGE = "message"
    ROW = "row"
    """A row of another table of a database that holds a memory."""
    STATE = "state"
    """A further member of a JSON file that holds a memory."""
    FILE = "file"
    """A file, or a part of a file, with unknown contents."""


class Reason(StrEnum):
    """Reason why an item is in the quarantine."""

    TOO_LARGE = "too-large"
    INVALID = "invalid"
    """The item has no key or id, or the store rejects a part of it."""
    INVALID_JSON = "invalid-json"
    TRUNCATED = "truncated"
    CONFLICT_MARKERS = "conflict-markers"
    CHECKSUM = "checksum"
    CORRUPT = "corrupt"
    NOT_JSON = "not-json"
    NOT_A_DATABASE = "not-a-database"
    UNREADABLE = "unreadable"
    SUPERSEDED = "superseded"
    """A source has a newer item of the same name with another value."""


class Ignored(StrEnum):
    """Reason why a file is ignored. The report lists ignored files; they are not errors."""

    SYMLINK = "symlink"
    SPECIAL = "special-file"
    EMPTY = "empty"
    NOT_A_MEMORY = "not-a-memory"
    ORPHAN = "sidecar-without-database"
    OWN_DATABASE = "own-database"
    OUTPUT = "output-of-this-migration"
    CHANGED = "changed-while-read"
    """Another program wrote to the file while it was read: run the migration again."""


@dataclass(frozen=True, slots=True)
class Item:
    """An entry to migrate.

    Attributes:
        kind: kind of the item.
        draft: the entry; its `ttl` is not used.
        updated_at: time of the last write in milliseconds; 0 if not known.
        expires_at: expiry time in milliseconds; None if the entry never expires.
    """

    kind: Kind
    draft: Draft
    updated_at: int = 0
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item that can't be migrated.

    Attributes:
        kind: kind of the item.
        reason: reason of the refusal.
        detail: human-readable reason.
        where: place in the source: `offset`, `line`, `table`, `rowid`, ...
        content: text of the item, in parts; empty if the place identifies all of it.
    """

    kind: Kind
    reason: Reason
    detail: str
    where: Mapping[str, Any] = field(default_factory=dict)
    content: Iterable[bytes] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice about a source, such as an ignored file."""

    reason: Ignored
    detail: str = ""


Found: TypeAlias = Item | Refusal | Notice


@dataclass(frozen=True, slots=True)
class Context:
    """Settings and facts for the readers of a source.

    Attributes:
        swarm_id: ID of the target's swarm.
        max_value_bytes: size limit of a value in the target.
        label: name of the source in the report: its path below the root.
        written_at: time of the last write to the source, in milliseconds.
    """

    swarm_id: str
    max_value_bytes: int
    label: str
    written_at: int

    @property
    def max_element_bytes(self) -> int:
        """Return the size limit of an element, including tags, metadata and JSON syntax."""
        return 2 * self.max_value_bytes + ELEMENT_OVERHEAD


ELEMENT_OVERHEAD = 256 * 1024
