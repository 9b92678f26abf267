"""Write requests: puts and deletes with their conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from swarm_operator.memory.core.duplicates import DuplicateRule
from swarm_operator.memory.core.entry import Draft, Identity


@dataclass(frozen=True, slots=True)
class Put:
    """A put of an entry. The result is (entry, created); with `duplicates` a CheckedWrite.

    Attributes:
        draft: the entry to write.
        create_only: fail with VersionConflictError if the entry exists.
        if_version: fail with VersionConflictError unless the entry exists with this version.
        duplicates: rule for near-duplicates; None: no comparison. Only `Store.batch` accepts a rule.
    """

    draft: Draft
    create_only: bool = False
    if_version: int | None = None
    duplicates: DuplicateRule | None = None

    @property
    def identity(self) -> Identity:
        """Return the identity of the entry to write."""
        return self.draft.namespace, self.draft.key


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an entry. The result is True if it existed.

    Attributes:
        identity: namespace and key of the entry.
        if_version: fail with VersionConflictError unless the entry exists with this version.
    """

    identity: Identity
    if_version: int | None = None


Write: TypeAlias = Put | Delete
