"""A put that looks for its twin in its transaction, see vectors.twins.

It is an operation of its own, so that a put without a rule costs nothing more.
"""

from __future__ import annotations

from typing import NamedTuple

from swarm_operator.memory.core.duplicates import CheckedWrite, OnDuplicate, linked
from swarm_operator.memory.core.entry import Identity
from swarm_operator.memory.core.errors import DuplicateError
from swarm_operator.memory.sqlite.vectors.twins import TwinCheck
from swarm_operator.memory.sqlite.write.apply import PutOperation
from swarm_operator.memory.sqlite.write.context import WriteContext


class CheckedPutOperation(NamedTuple):
    """Writes an entry if its twin does not forbid it. The result is a CheckedWrite.

    Attributes:
        put: writes the entry.
        check: what a snapshot told of its twin.
    """

    put: PutOperation
    check: TwinCheck

    @property
    def identities(self) -> tuple[Identity]:
        """Return the entry that the operation writes."""
        return self.put.identities

    @property
    def weight(self) -> int:
        """Return the bytes held while queued."""
        return self.put.weight + len(self.check.vector)

    def apply(self, context: WriteContext) -> CheckedWrite:
        """Find the twin, and write the entry unless it is refused. Nothing is written before an error of conditions."""
        draft, rule = self.put.draft, self.check.rule
        row_id, _, *_ = context.head((draft.namespace, draft.key))
        twin = self.check.twin(context.db, draft.namespace, row_id, context.now)
        if twin is not None and rule.on is OnDuplicate.REFUSE:
            raise DuplicateError(*twin)
        if rule.on is OnDuplicate.LINK:
            draft = linked(draft, twin)
        entry, created = self.put._replace(draft=draft).apply(context)
        self.check.store(context.db, context.head((draft.namespace, draft.key))[0], draft.namespace)
        return CheckedWrite(entry, created, twin)
