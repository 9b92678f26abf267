"""Calls of swarm.memory.v1 from a process of its own. `python grpc_load.py PORT TOKEN Put|Get CALLERS SECONDS`.

The client is grpc.aio, in Python: on two cores it takes as much of the time as the server, so this measures a pair of
Python processes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time

import grpc

from swarm_operator.memory.service.grpc.memory_pb2 import GetRequest, PutRequest
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub

_CHANNELS = 4
_KEYS = 10_000
_VALUE = json.dumps({"text": "w" * 188}).encode()


async def _main(port: int, token: str, method: str, callers: int, seconds: float) -> None:
    metadata = (("authorization", f"Bearer {token}"),)
    numbers = itertools.count()
    taken: list[float] = []
    # Each with a connection of its own: by default channels to one address share it.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(_CHANNELS)]
    stubs = [MemoryStub(channel) for channel in channels]
    started = time.perf_counter()

    async def caller(stub: MemoryStub) -> None:
        while (before := time.perf_counter()) < started + seconds:
            key = f"k{next(numbers) % _KEYS}"
            if method == "Put":
                await stub.Put(PutRequest(namespace="bench", key=key, value=_VALUE), metadata=metadata)
            else:
                await stub.Get(GetRequest(namespace="bench", key=key), metadata=metadata)
            taken.append(time.perf_counter() - before)

    await asyncio.gather(*(caller(stubs[number % _CHANNELS]) for number in range(callers)))
    total = time.perf_counter() - started
    for channel in channels:
        await channel.close()
    taken.sort()
    print(json.dumps([len(taken) / total, taken[len(taken) // 2] * 1e3, taken[len(taken) * 99 // 100] * 1e3]))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
