"""Writes with 16 writers until it is killed: `killed_writers.py DATABASE`. Prints what was acknowledged."""

import asyncio
import itertools
import sys

from swarm_operator.memory.core import Query
from swarm_operator.memory.sqlite import SqliteStore


async def write(store, writer):
    start = 1 + max([0, *(entry.value["number"] for entry in await existing(store, writer))])
    for number in itertools.count(start):
        text = f"writer{writer}number{number}"
        await store.put("n", f"{writer}-{number % 8}", {"text": text, "number": number})
        print(writer, number, flush=True)  # noqa: T201
        if number % 4 == 0:
            await store.search(Query.create(text=text))


async def existing(store, writer):
    return (await store.list("n", prefix=f"{writer}-")).entries


async def main(path):
    async with SqliteStore.open(path) as store:
        await asyncio.gather(*(write(store, writer) for writer in range(16)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
