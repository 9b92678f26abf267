"""Entries that are written in turn: a program for pods, which run it by `python3 -c`, and what its readers expect.

write URL AT_ONCE   write that many, then a few again and again until standard input ends; print how many there are
read URL            print how many there are, and their digest
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from swarm_operator.memory.client import MemoryClient, MemoryClientError

NAMESPACE = "acked"
BATCH = 100
TOKEN = Path("/etc/swarm-memory/tokens/client-token")


def value(number: int) -> dict[str, Any]:
    """Return the value of an entry by its number: from some bytes to half a kilobyte."""
    return {"number": number, "text": "Ünï " + hashlib.sha256(str(number).encode()).hexdigest() * (number % 7)}


def line(key: str, value: Any) -> bytes:
    """Return what an entry adds to the digest."""
    return f"{key} {json.dumps(value)}\n".encode()


def digest(count: int) -> str:
    """Return the digest of that many entries."""
    found = hashlib.sha256()
    for number in range(count):
        found.update(line(f"{number:08}", value(number)))
    return found.hexdigest()


async def write(url: str, at_once: int) -> None:
    """Write until standard input ends."""
    async with MemoryClient(url, token_file=TOKEN, timeout=3, retries=0) as memory:
        ending = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        writing = asyncio.create_task(_write(memory, at_once))
        await asyncio.wait((ending, writing), return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            writing.result()
        writing.cancel()


async def _write(memory: MemoryClient, at_once: int) -> None:
    for first in itertools.count(step=BATCH):
        numbers = range(first, first + BATCH)
        operations = [
            {"op": "put", "namespace": NAMESPACE, "key": f"{number:08}", "value": value(number)} for number in numbers
        ]
        while True:
            try:
                await memory.batch(operations)
                break
            except MemoryClientError:
                await asyncio.sleep(0.1)  # not acknowledged: no guarantee
        print(first + BATCH, flush=True)  # noqa: T201 - a program
        if first + BATCH >= at_once:
            await asyncio.sleep(0.2)


async def read(url: str) -> None:
    """Print a JSON object with count and digest."""
    found, count = hashlib.sha256(), 0
    async with MemoryClient(url, token_file=TOKEN) as memory:
        async for entry in memory.iterate(NAMESPACE, page=1000):
            found.update(line(entry.key, entry.value))
            count += 1
    print(json.dumps({"count": count, "digest": found.hexdigest()}))  # noqa: T201 - a program


if __name__ == "__main__":
    program, url, *arguments = sys.argv[1:]
    asyncio.run(write(url, *map(int, arguments)) if program == "write" else read(url))
