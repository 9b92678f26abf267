"""Python client of the memory service, used by agents, the operator and the command line. It knows only HTTP.

- client: MemoryClient, with its parts and service-wide calls
- entries: the methods of MemoryClient for entries
- records, resource, swarm: agents, tasks, patterns, proposals, messages; `records` is made from the service's table
- backups, restores: named backups at the service's destination, restores of them into the service
- transfer, backup, watch: calls whose responses are streams
- sync, sync_records, facade: SyncMemoryClient, the same operations for code without an event loop
- transport, retrying: connections, authentication, checks of responses, retries
- encoding, models, errors: JSON, what calls return and raise
"""

from swarm_operator.memory.client.backups import BackupState
from swarm_operator.memory.client.client import MemoryClient
from swarm_operator.memory.client.errors import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClientError,
    MemoryConflictError,
    MemoryDuplicateError,
    MemoryGoneError,
    MemoryNotFoundError,
    MemoryProtocolError,
    MemoryRequestError,
    MemoryServerError,
    MemoryStateError,
    MemoryUnavailableError,
)
from swarm_operator.memory.client.models import (
    BatchResult,
    Change,
    Duplicate,
    EntryHead,
    EntryPage,
    MemoryEntry,
    MemoryHit,
    Namespace,
    Readiness,
    SearchPage,
    Stats,
)
from swarm_operator.memory.client.resource import MessagePage, RecordPage
from swarm_operator.memory.client.restores import RestoreState
from swarm_operator.memory.client.swarm import Workload
from swarm_operator.memory.client.sync import SyncMemoryClient

__all__ = [
    "BackupState",
    "BatchResult",
    "Change",
    "Duplicate",
    "EntryHead",
    "EntryPage",
    "MemoryAuthError",
    "MemoryBusyError",
    "MemoryClient",
    "MemoryClientError",
    "MemoryConflictError",
    "MemoryDuplicateError",
    "MemoryEntry",
    "MemoryGoneError",
    "MemoryHit",
    "MemoryNotFoundError",
    "MemoryProtocolError",
    "MemoryRequestError",
    "MemoryServerError",
    "MemoryStateError",
    "MemoryUnavailableError",
    "MessagePage",
    "Namespace",
    "Readiness",
    "RecordPage",
    "RestoreState",
    "SearchPage",
    "Stats",
    "SyncMemoryClient",
    "Workload",
]
