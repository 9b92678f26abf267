"""Settings of a store whose real service serves."""

from __future__ import annotations

import asyncio
import contextlib

from integration.conftest import SWARM

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.client import MemoryClient

STORE = kinds.SWARM_MEMORY_STORE
CHANGES = {
    "cacheSize": (7, "cache_size", 7),
    "cacheMemoryMB": (9, "cache_memory_mb", 9),
    "compressionThreshold": (100, "compression_threshold", 100),
    "gcInterval": ("1h30m", "gc_interval_seconds", 5400.0),
    "enableVacuum": (False, "enable_vacuum", False),
    "searchLanguage": ("english", "search_language", "english"),
    "logLevel": ("warning", "log_level", "warning"),
}


async def test_live_settings_take_no_new_pod_and_fail_no_request(serving, objects, eventually, memory_port, folder):
    await serving()
    spec = {"swarmId": SWARM, "backup": {}}

    async def applied() -> bool:
        store = await objects.get(STORE, "s")
        told = {found["type"]: found for found in store["status"]["conditions"]}["SettingsApplied"]
        assert told["observedGeneration"] == store["metadata"]["generation"]
        return (told["status"], told["reason"]) == ("True", "Applied")

    await eventually(applied)
    before = (await objects.get(kinds.STATEFUL_SET, "s"))["metadata"]["generation"]
    token_file = folder.parent.parent / "tokens" / "client-token"
    async with MemoryClient(f"http://127.0.0.1:{memory_port}", token_file=token_file, retry_for=0) as memory:

        async def use() -> None:
            for number in range(10**9):
                await memory.put("n", "used", "word " * (number % 100))
                await memory.get("n", f"k{number % 100}")
                await asyncio.sleep(0.01)  # as agents do, and not all that the machine can

        using = asyncio.create_task(use())
        for field, (value, name, reported) in CHANGES.items():
            spec[field] = value
            await objects.store("s", **spec)
            await eventually(applied)
            assert (await memory.stats()).settings[name] == reported
            assert not using.done()
        using.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await using
    assert (await objects.get(kinds.STATEFUL_SET, "s"))["metadata"]["generation"] == before
    settings = (await objects.get(kinds.CONFIG_MAP, "s-settings"))["data"]
    assert (settings["CACHE_SIZE"], settings["GC_INTERVAL"], settings["LOG_LEVEL"]) == ("7", "1h30m", "warning")

    await objects.store("s", **spec | {"cacheMemoryMB": 51})
    await eventually(lambda: _replaced(objects, before))


async def _replaced(objects, before: int) -> bool:
    return (await objects.get(kinds.STATEFUL_SET, "s"))["metadata"]["generation"] == before + 1
