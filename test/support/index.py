"""The index of words of a store, which follows its changes."""

from swarm_operator.memory.core.stats import IndexStats


async def indexed(store):
    """Wait until the index has every change."""
    while (await store.stats()).index != IndexStats():
        pass
