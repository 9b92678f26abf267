"""A search that begins after a write was acknowledged finds it: by words and by meaning, and across kill -9.

`make found` writes 20,000 values; this is a tenth of that.
"""

import asyncio
import contextlib
import os
import random
import signal
import struct
from collections import Counter
from functools import partial

import pytest
from support.memory_process import Process

from swarm_operator.memory.client import MemoryClient, MemoryUnavailableError
from swarm_operator.memory.sqlite.backup.verify import check

WRITES = int(os.environ.get("FOUND_WRITES", "2000"))
WRITERS = 16
KILL_AFTER = 500
"""Writes that are acknowledged between two kills."""
WIDTH = 64
FLAGS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--search-wait-ms", "60000")

pytestmark = pytest.mark.timeout(max(900, WRITES // 2))


class Mortal:
    """The memory service, which is killed and started again.

    Attributes:
        process: the process that serves, or was killed last.
        kills: how often it was killed.
    """

    def __init__(self, zygote, data_dir):
        self._zygote = zygote
        self._data_dir = data_dir
        self._serving = asyncio.Event()
        self._clients = contextlib.AsyncExitStack()
        self._memory = None
        self.process = None
        self.kills = 0

    async def start(self):
        forked = await self._zygote.fork("serve", "--data-dir", str(self._data_dir), *FLAGS)
        self.process = await Process.announced(forked, self._data_dir)
        client = MemoryClient(self.process.url, token=self.process.token, retries=0)
        self._memory = await self._clients.enter_async_context(client)
        self._serving.set()

    async def end(self, number):
        """Send a signal. Return the exit code."""
        self._serving.clear()
        code = await self.process.stop(number)
        await self._clients.aclose()
        return code

    async def kill(self):
        await self.end(signal.SIGKILL)
        self.kills += 1
        await self.start()

    async def ask(self, call):
        """Return the answer to a request, which is repeated if the process was killed before it answered."""
        while True:
            await self._serving.wait()
            memory = self._memory
            try:
                return await call(memory)
            except MemoryUnavailableError:
                if memory is self._memory and self._serving.is_set():
                    raise


@pytest.fixture
async def service(zygote, tmp_path):
    mortal = Mortal(zygote, tmp_path / "data")
    await mortal.start()
    yield mortal
    await mortal.end(signal.SIGKILL)


def keys(page):
    assert "fresh" not in page.searched  # it is there if it is false
    assert not page.searched["partial"]
    return [hit.key for hit in page.hits]


async def write(service, writer, numbers, found):
    """Write values, and search for each when it is acknowledged. Return the number of entries.

    Every fourth value overwrites another one. Every eighth search by meaning compares the vectors of all writers.
    """
    namespace, directions, written = f"n{writer}", random.Random(writer), set()
    for number in range(WRITES // WRITERS):
        key = f"{writer}-{number - 3 if number % 4 == 3 else number}"
        word = f"writer{writer}number{number}"
        vector = struct.pack(f"<{WIDTH}f", *(directions.gauss() for _ in range(WIDTH)))
        put = partial(MemoryClient.put, namespace=namespace, key=key, value={"says": f"{word} and more"}, vector=vector)
        await service.ask(put)
        written.add(key)
        if next(numbers) % KILL_AFTER == 0:
            await service.kill()
        by_words = await service.ask(partial(MemoryClient.search, text=word, mode="words"))
        found["words"] += keys(by_words) == [key]
        within = None if number % 8 == 0 else namespace
        by_meaning = await service.ask(partial(MemoryClient.search, namespace=within, vector=vector, limit=1))
        found["meaning"] += keys(by_meaning) == [key]
    return len(written)


async def test_every_value_is_found_right_after_its_acknowledgement(service, tmp_path):
    found, numbers = Counter(), iter(range(1, WRITES + 1))
    entries = await asyncio.gather(*(write(service, writer, numbers, found) for writer in range(WRITERS)))
    assert found == {"words": WRITES, "meaning": WRITES}
    assert service.kills == WRITES // KILL_AFTER
    assert await service.end(signal.SIGTERM) == 0
    report = check(tmp_path / "data" / "swarm-memory.db")
    assert (report.findings, report.entries) == ((), sum(entries))
