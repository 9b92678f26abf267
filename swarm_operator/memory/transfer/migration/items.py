"""What readers of sources yield: items to migrate, refusals for the quarantine, and notices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from swarm_operator.memory.core.entry import Draft


class Kind(StrEnum):
    """What an item is, for the counts of the report."""

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
    """A file, or a part of it, of which it is not known what it holds."""


class Reason(StrEnum):
    """Why something is in the quarantine."""

    TOO_LARGE = "too-large"
    INVALID = "invalid"
    """It has no key or no id, or a part that the store refuses."""
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
    """Why a file is left alone; these are listed in the report, and are not errors."""

    SYMLINK = "symlink"
    SPECIAL = "special-file"
    EMPTY = "empty"
    NOT_A_MEMORY = "not-a-memory"
    ORPHAN = "sidecar-without-database"
    OWN_DATABASE = "own-database"
    OUTPUT = "output-of-this-migration"
    CHANGED = "changed-while-read"
    """The file was read, and another program wrote to it meanwhile: run the migration again."""


@dataclass(frozen=True, slots=True)
class Item:
    """An entry to migrate.

    Attributes:
        kind: what it is.
        draft: the entry; its `ttl` is not used.
        updated_at: time of its last write in milliseconds; 0 if it is not known.
        expires_at: its expiry time in milliseconds; None if it never expires.
    """

    kind: Kind
    draft: Draft
    updated_at: int = 0
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that can't be migrated.

    Attributes:
        kind: what it is.
        reason: why it can't be migrated.
        detail: a sentence for people.
        where: its place in the source: `offset`, `line`, `table`, `rowid`, ...
        content: its text, in parts; nothing if the place says all.
    """

    kind: Kind
    reason: Reason
    detail: str
    where: Mapping[str, Any] = field(default_factory=dict)
    content: Iterable[bytes] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that was left alone, or is to be known about a source."""

    reason: Ignored
    detail: str = ""


Found: TypeAlias = Item | Refusal | Notice


@dataclass(frozen=True, slots=True)
class Context:
    """What readers know besides their source.

    Attributes:
        swarm_id: the swarm that the target belongs to.
        max_value_bytes: size limit of a value in the target.
        label: the name of the source in the report: its path below the root.
        written_at: the time at which the source was last written, in milliseconds.
    """

    swarm_id: str
    max_value_bytes: int
    label: str
    written_at: int

    @property
    def max_element_bytes(self) -> int:
        """Return the size limit of an element with its tags, metadata and JSON's own characters."""
        return 2 * self.max_value_bytes + ELEMENT_OVERHEAD


ELEMENT_OVERHEAD = 256 * 1024
