"""The store: one SQLite file, one writer, exact expiry, acknowledged means on disk.

Usable as a library, without the service beside it::

    async with MemoryStore.open("swarm-memory.db") as store:
        await store.put("swarm:agents", "agent:1", {"status": "idle"})
        entry = await store.get("swarm:agents", "agent:1")

A call goes store -> writer (group commit) or lookup (cache, then readers); each of them keeps its SQLite connection on
a thread of its own (worker). What a call may carry is checked in limits and codec; what it may raise is in errors.
"""

from swarm_operator.memory.core.writes import Delete, Put
from swarm_operator.memory.engine.config import StoreConfig
from swarm_operator.memory.engine.entry import Draft, Entry
from swarm_operator.memory.engine.errors import MemoryStoreError
from swarm_operator.memory.engine.query import Query
from swarm_operator.memory.engine.store import MemoryStore

__all__ = ["Delete", "Draft", "Entry", "MemoryStore", "MemoryStoreError", "Put", "Query", "StoreConfig"]
