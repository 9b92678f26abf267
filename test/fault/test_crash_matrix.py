"""The operator dies after each write that it makes, or a write fails, or its answer is lost: it must end the same.

After Sieve's intermediate-state tests (OSDI '22): one clean run of a scenario is the reference. For each k the scenario
is run again, the operator is stopped dead after its k-th write, and a new one goes on. In the end every object must be
as in the reference, and no object may have been made twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import Callable

import pytest
from fault.world import QUIET, SCENARIO, World

from swarm_operator.cmd import manager
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import UnreachableError, from_status
from swarm_operator.runtime.events import EVENTS

pytestmark = pytest.mark.timeout(400)

Verdict = Callable[[int], str | None]
"""What becomes of the k-th write, counted from 1: None for nothing, or the name of a fault."""


class FaultyClient(Client):
    """A real client whose writes go wrong as told. It counts them."""

    def __init__(self, configuration, verdict: Verdict) -> None:
        super().__init__(configuration, user_agent="swarm-operator/test")
        self.verdict = verdict
        self.writes = 0
        self.dead = asyncio.Event()

    async def request(self, method, path, **arguments):
        if method == "GET":
            return await super().request(method, path, **arguments)
        if self.dead.is_set():
            await asyncio.Event().wait()  # a dead process sends nothing
        self.writes += 1
        fault = self.verdict(self.writes)
        if fault and fault.isdecimal():
            raise from_status(int(fault), {"message": f"{fault}, as the test wants it"}, retry_after=0.01)
        if fault == "reset":
            raise UnreachableError("connection reset, as the test wants it")
        answer = await super().request(method, path, **arguments)
        if fault == "lost":
            raise UnreachableError("the answer is lost, as the test wants it")
        if fault == "die":
            self.dead.set()
            await asyncio.Event().wait()
        return answer


async def play(world: World, verdict: Verdict, *, eventually) -> tuple[int, int]:
    """Play the scenario with an operator that fails as told; a dead one is replaced by a healthy one.

    Returns:
        Writes of the first operator, and of its successor.
    """
    seen: dict[tuple[str, str], str] = {}
    async with contextlib.AsyncExitStack() as stack:
        configuration = await load_config(world.plane.kubeconfig("operator"))
        options = manager.parse(["--watch-namespaces", world.namespace, *QUIET])
        clients = [await stack.enter_async_context(FaultyClient(configuration, verdict))]
        running = asyncio.create_task(manager.assemble(clients[0], options, instance="test").run(asyncio.Event()))
        try:
            for act, done in SCENARIO:
                await act(world)

                async def arrived(done=done) -> bool:
                    nonlocal running
                    if clients[-1].dead.is_set():
                        running.cancel()
                        await asyncio.gather(running, return_exceptions=True)
                        seen.update(await world.uids())
                        clients.append(await stack.enter_async_context(FaultyClient(configuration, lambda _: None)))
                        successor = manager.assemble(clients[-1], options, instance="test")
                        running = asyncio.create_task(successor.run(asyncio.Event()))
                    return await done(world) and await world.settled()

                await eventually(arrived)
            now = await world.uids()
            assert {key: now.get(key) for key in seen} == seen, "an object was made again"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return clients[0].writes, clients[1].writes if len(clients) > 1 else 0


async def test_killed_after_any_of_its_writes_it_ends_as_if_it_had_not_been(new_world, in_time):
    world = await new_world()
    total, _ = await play(world, lambda _: None, eventually=in_time)
    reference = await world.picture()
    assert len(reference) == 7
    assert total >= 12
    killed = 0
    # The clean run tells about how many writes there are; events make it vary a little, so go on until none is left.
    for k in itertools.count(1):
        world = await new_world()
        await play(world, lambda n, k=k: "die" if n == k else None, eventually=in_time)
        assert await world.picture() == reference, f"after a kill at write {k}"
        killed = k
        if k >= total:
            break
    assert killed >= 12


@pytest.mark.parametrize("fault", ["409", "429", "500", "503", "reset", "lost"])
async def test_when_each_write_fails_once_it_ends_as_if_none_had(new_world, in_time, fault):
    """Every other write fails, so that each of them has failed before it succeeds."""
    world = await new_world()
    await play(world, lambda _: None, eventually=in_time)
    reference = await world.picture()
    world = await new_world()
    writes, _ = await play(world, lambda n: fault if n % 2 else None, eventually=in_time)
    assert await world.picture() == reference
    assert writes >= 12
    events, _ = await world.admin.list(EVENTS, namespace=world.namespace)
    names = [e["regarding"]["name"] + e["note"] for e in events if re.match("created ", e["note"])]
    assert len(names) == len(set(names)), "an event says twice that something was created"
