"""The engines that have to keep the contract of a store."""

import contextlib

from support.memory_store import MemoryStore
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig

SQLITE, MEMORY, SHORT_PAGES = "sqlite", "memory", "memory with short pages"
ENGINES = (SQLITE, MEMORY)


@contextlib.asynccontextmanager
async def open_store(engine, path, *, clock, swarm_id="default", changes_kept=100_000):
    """Open an empty store of an engine. One with short pages looks at two entries for each page."""
    if engine == SQLITE:
        config = StoreConfig(swarm_id=swarm_id, change_log_entries=changes_kept)
        async with SqliteStore.open(path, config, clock=clock) as store:
            yield store
        return
    largest_page = 2 if engine == SHORT_PAGES else 10_000
    options = {"swarm_id": swarm_id, "largest_page": largest_page, "changes_kept": changes_kept}
    async with MemoryStore.open(clock, **options) as store:
        yield store
