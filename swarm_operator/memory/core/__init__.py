"""The contract of a store, which every engine, protocol and record shares. Imports nothing of ours."""

from swarm_operator.memory.core.entry import Draft, Entry
from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.store import Store, Watch
from swarm_operator.memory.core.writes import Delete, Put

__all__ = ["Delete", "Draft", "Entry", "MemoryStoreError", "Put", "Query", "Store", "Watch"]
