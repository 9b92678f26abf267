"""The SQLite engine: one file, one writer, exact expiry; an acknowledged write is on disk.

Usable as a library, without the service::

    async with SqliteStore.open("swarm-memory.db") as store:
        await store.put("swarm:agents", "agent:1", {"status": "idle"})
        entry = await store.get("swarm:agents", "agent:1")

A call goes from the store to the writer (group commit) or to the reader of entries (cache, then connections). Each
keeps its SQLite connection on a thread of its own.
"""

from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "StoreConfig"]
