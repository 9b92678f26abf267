"""The memory's client, for agents, the operator and the command line. It knows HTTP and nothing of the engine.

http has the client itself, with entries and all that is asked of the service as a whole; records has what it knows of
agents, tasks and the like.
"""

from swarm_operator.memory.client.http import (
    BatchResult,
    Change,
    EntryHead,
    EntryPage,
    MemoryAuthError,
    MemoryBusyError,
    MemoryClient,
    MemoryClientError,
    MemoryConflictError,
    MemoryEntry,
    MemoryGoneError,
    MemoryHit,
    MemoryNotFoundError,
    MemoryRequestError,
    MemoryServerError,
    MemoryStateError,
    MemoryUnavailableError,
    Readiness,
    SearchPage,
    Stats,
)
from swarm_operator.memory.client.records import MessagePage, RecordPage

__all__ = [
    "BatchResult",
    "Change",
    "EntryHead",
    "EntryPage",
    "MemoryAuthError",
    "MemoryBusyError",
    "MemoryClient",
    "MemoryClientError",
    "MemoryConflictError",
    "MemoryEntry",
    "MemoryGoneError",
    "MemoryHit",
    "MemoryNotFoundError",
    "MemoryRequestError",
    "MemoryServerError",
    "MemoryStateError",
    "MemoryUnavailableError",
    "MessagePage",
    "Readiness",
    "RecordPage",
    "SearchPage",
    "Stats",
]
