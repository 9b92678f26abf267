"""What operations on records refuse beyond what every write refuses. Nothing was written when one is raised."""

from __future__ import annotations

from typing import ClassVar

from swarm_operator.memory.core.errors import MemoryStoreError


class RecordNotFoundError(MemoryStoreError):
    """There is no such record, or it has expired.

    Attributes:
        kind: `agent`, `task`, ...
        record_id: which.
    """

    code: ClassVar[str] = "not-found"

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"there is no {kind} {record_id!r}")
        self.kind = kind
        self.record_id = record_id

    def __copy__(self) -> RecordNotFoundError:
        """Another error that says the same."""
        return RecordNotFoundError(self.kind, self.record_id)


class RecordStateError(MemoryStoreError):
    """The record is in a state in which this can't be done: somebody was faster, or something else comes first.

    Attributes:
        reason: a word for programs; it never changes once released. Those of tasks: `exists`, `claimed`, `assigned`,
            `blocked`, `not-claimed`, `not-allowed`. Those of proposals: `exists`, `closed`, `not-a-voter`.
        detail: for people.
    """

    code: ClassVar[str] = "state-conflict"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __copy__(self) -> RecordStateError:
        """Another error that says the same."""
        return RecordStateError(self.reason, self.detail)
