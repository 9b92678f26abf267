"""Batches: writes in one transaction, then reads that see these writes. Shared by HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_operator.memory.core import MemoryStoreError
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import BatchItemError
from swarm_operator.memory.core.writes import Write
from swarm_operator.memory.service.access.rights import AuthorizedStore


async def run(store: AuthorizedStore, operations: Sequence[Write | Identity], *, atomic: bool) -> list[Any]:
    """Run the operations of a batch: a `Write` writes, an identity reads. Names and values must have been checked.

    All checks precede the first write, so an error means that nothing was written.

    Returns:
        The result of each operation. For a write: the result of `Store.batch`. For a read: an entry, None, or the error
        of this read, because the writes are already committed.

    Raises:
        ForbiddenError: the caller may not write or read one of the namespaces.
        BatchItemError: a write of an atomic batch failed. The index counts all operations.
        MemoryStoreError: the transaction failed.
    """
    writes = [operation for operation in operations if not isinstance(operation, tuple)]
    reads = [operation for operation in operations if isinstance(operation, tuple)]
    store.check_reads(reads)
    try:
        written = iter(await store.batch(writes, atomic=atomic))
    except BatchItemError as error:
        # The store's index counts writes only.
        failed = writes[error.index]
        index = next(index for index, operation in enumerate(operations) if operation is failed)
        raise BatchItemError(index, error.cause) from error
    found = iter(await read(store, reads))
    return [next(found) if isinstance(operation, tuple) else next(written) for operation in operations]


async def read(store: AuthorizedStore, identities: Sequence[Identity]) -> list[Entry | MemoryStoreError | None]:
    """Return the entry of each identity, None, or the error of this read.

    The values together have at most `max_value_bytes`, like the values of a page: otherwise one request could make the
    service hold a thousand large values. The result of each further read is InvalidInputError.

    Raises:
        ForbiddenError: the caller may not read one of the namespaces.
    """
    store.check_reads(identities)
    if not identities:
        return []
    try:
        return await store.get_each(identities)
    except MemoryStoreError as error:  # the store is closing: the writes of the batch have been committed
        return [error] * len(identities)
