"""The store's contract, shared by engines, protocols and records. Imports no other package of swarm_operator."""

from swarm_operator.memory.core.entry import Draft, Entry
from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.store import Store, Watch
from swarm_operator.memory.core.writes import Delete, Put

__all__ = ["Delete", "Draft", "Entry", "MemoryStoreError", "Put", "Query", "Store", "Watch"]
