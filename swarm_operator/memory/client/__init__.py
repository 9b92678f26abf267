"""The memory's client, for agents, the operator and the command line. It knows HTTP and nothing of the engine.

http has the client itself, with entries and all that is asked of the service as a whole; records has what it knows of
agents, tasks and the like; entries what it answers with, errors what it raises.
"""

from swarm_operator.memory.client.client import MemoryClient
from swarm_operator.memory.client.errors import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClientError,
    MemoryConflictError,
    MemoryGoneError,
    MemoryNotFoundError,
    MemoryRequestError,
    MemoryServerError,
    MemoryStateError,
    MemoryUnavailableError,
)
from swarm_operator.memory.client.models import (
    BatchResult,
    Change,
    EntryHead,
    EntryPage,
    MemoryEntry,
    MemoryHit,
    Namespace,
    Readiness,
    SearchPage,
    Stats,
)
from swarm_operator.memory.client.swarm import MessagePage, RecordPage

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
    "Namespace",
    "Readiness",
    "RecordPage",
    "SearchPage",
    "Stats",
]
