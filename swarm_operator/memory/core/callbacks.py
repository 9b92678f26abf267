"""Calls of a store that return at once and report their result to a receiver, for requests without a task.

A task, a future and a coroutine for each layer cost more than the operation itself. Store states the guarantees.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

from swarm_operator.memory.core.entry import Draft, Entry, Identity


class Receiver(Protocol):
    """Receives the result of an operation, once, on the event loop. A future is a receiver. The methods never raise."""

    @abstractmethod
    def done(self) -> bool:
        """Return whether the result is no longer needed. An operation that has not begun is then skipped."""

    @abstractmethod
    def set_result(self, result: Any, /) -> None:
        """Receive the result."""

    @abstractmethod
    def set_exception(self, error: BaseException, /) -> None:
        """Receive the error of the operation."""


class CallbackStore(Protocol):
    """Operations on single entries. The caller has checked the names (see core.entry) and the permissions.

    A method raises MemoryStoreError if it did not begin the operation, and then does not call the receiver.
    """

    @abstractmethod
    def cached(self, identity: Identity) -> Entry | None:
        """Return a live entry from memory, and record the access; None: call `begin_get`."""

    @abstractmethod
    def begin_get(self, identity: Identity, receiver: Receiver) -> None:
        """Read an entry. The result is the live entry, or None."""

    @abstractmethod
    def begin_put(self, draft: Draft, receiver: Receiver) -> bool:
        """Write an entry. The result is the entry, and True if it is new.

        Returns:
            False, without beginning the write, if the value must first be compressed on a thread: see Store.write.
        """

    @abstractmethod
    def begin_delete(self, identity: Identity, receiver: Receiver) -> None:
        """Delete an entry. The result is whether it existed."""
