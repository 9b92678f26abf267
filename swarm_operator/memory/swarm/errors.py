"""Errors of operations on records, in addition to the store's errors. Nothing was written when they are raised."""

from __future__ import annotations

from typing import ClassVar

from swarm_operator.memory.core.errors import MemoryStoreError


class RecordNotFoundError(MemoryStoreError):
    """The record does not exist or has expired.

    Attributes:
        kind: kind of the record: `agent`, `task`, ...
        record_id: id of the record.
    """

    code: ClassVar[str] = "not-found"

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"there is no {kind} {record_id!r}")
        self.kind = kind
        self.record_id = record_id

    def __copy__(self) -> RecordNotFoundError:
        """Return a new error with the same attributes."""
        return RecordNotFoundError(self.kind, self.record_id)


class RecordStateError(MemoryStoreError):
    """The record's state does not allow the operation.

    Attributes:
        reason: stable machine-readable reason. For tasks: `exists`, `claimed`, `assigned`, `blocked`, `not-claimed`,
            `not-allowed`. For proposals: `exists`, `closed`, `not-a-voter`, `full`. For leases: `claimed`,
            `not-claimed`.
        detail: human-readable reason.
    """

    code: ClassVar[str] = "state-conflict"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __copy__(self) -> RecordStateError:
        """Return a new error with the same attributes."""
        return RecordStateError(self.reason, self.detail)
