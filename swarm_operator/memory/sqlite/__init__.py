"""SQLite engine: one file, one writer, exact expiry, durable acknowledged writes.

The engine also works as a library, without the service::

    async with SqliteStore.open("swarm-memory.db") as store:
        await store.put("swarm:agents", "agent:1", {"status": "idle"})
        entry = await store.get("swarm:agents", "agent:1")

The store passes calls to the writer (group commit), to the entry reader (cache) or to the reading connections. Each
SQLite connection has its own thread.
"""

from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "StoreConfig"]
