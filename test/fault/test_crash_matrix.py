"""The operator dies after each write that it makes, or a call fails, or its answer is lost: it must end the same.

After Sieve's intermediate-state tests (OSDI '22): one clean run of a cluster's life is the reference. For each k it is
lived again, the operator is stopped dead after its k-th write, and a new one goes on. After each step every object must
be as in the reference, and no object may have been made twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from fault import apart, secured
from fault.upkeep import SERVING, SLEEP_AND_TOKENS, UPGRADE
from fault.world import AGENTS, BACKED_UP, DELETION, LIFE, MIGRATION, QUIET, UNMIGRATED, WITH_AGENTS, Step, World
from support.budget import LONG, budget, every

from swarm_operator.cmd import manager
from swarm_operator.controllers.swarmmemorystore.identity import cluster_keys
from swarm_operator.controllers.swarmmemorystore.tls import authority
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import UnreachableError, from_status
from swarm_operator.runtime.events import EVENTS
from swarm_operator.runtime.resource import Object


class Mortal(Client):
    """A real client that stops dead after its k-th write; 0 is never."""

    def __init__(self, configuration, last_write: int) -> None:
        super().__init__(configuration, user_agent="swarm-operator/test")
        self.last_write = last_write
        self.writes = 0
        self.dead = asyncio.Event()
        self.keys: list[Object] = []
        """Keys of tokens that the API server serves besides its own."""

    async def request(self, method, path, **arguments):
        if self.dead.is_set():
            await asyncio.Event().wait()  # a dead process sends nothing
        answer = await super().request(method, path, **arguments)
        if method == "GET":
            return answer | {"keys": answer["keys"] + self.keys} if path == KEYS else answer
        self.writes += 1
        if self.writes == self.last_write:
            self.dead.set()
            await asyncio.Event().wait()
        return answer


KEYS = "/openid/v1/jwks"
"""Where the API server serves the keys of tokens."""

SHARES = 4

TOGETHER = 6
"""Lives that are lived at the same time."""

FAULTS = ("409", "429", "500", "503", "connection reset", "answer lost")

STEP = budget(8, long=4)
"""The operator is killed at each write whose number is a multiple of it, after a random one."""

STEP_APART = budget(24, long=12)
"""The same, for a life of three namespaces, which costs more."""


class Unlucky(Client):
    """A real client that fails when it calls something for the first time: a quarter of what it calls.

    Each failure is one of `faults` at random.

    All four in turn fail everything once. At once they would make a back-off of minutes: nothing that one reconcile
    calls may fail for it to be over.
    """

    def __init__(self, configuration, namespace: str, faults: Sequence[str], share: int) -> None:
        super().__init__(configuration, user_agent="swarm-operator/test")
        self.namespace = namespace
        self.faults = faults
        self.share = share
        self.called: dict[str, bool] = {}
        """Each call, and whether it failed."""
        self.dead = asyncio.Event()

    def fails(self, method: str, path: str) -> bool:
        call = f"{method} {path.replace(self.namespace, 'NAMESPACE')}"
        if call in self.called:
            return False
        self.called[call] = zlib.crc32(call.encode()) % SHARES == self.share
        return self.called[call]

    def fail(self, fault: str) -> None:
        if fault.isdecimal():
            raise from_status(int(fault), {"message": f"{fault}, as the test wants it"}, retry_after=0.01)
        raise UnreachableError(f"{fault}, as the test wants it")

    async def request(self, method, path, **arguments):
        fault = random.choice(self.faults) if self.fails(method, path) else None
        if fault and fault != "answer lost":
            self.fail(fault)
        answer = await super().request(method, path, **arguments)
        if fault:
            self.fail(fault)
        return answer

    @contextlib.asynccontextmanager
    async def watch(self, resource, **arguments):
        if self.fails("WATCH", resource.plural):
            self.fail(random.choice(self.faults))
        async with super().watch(resource, **arguments) as events:
            yield events


@dataclass
class Lived:
    """What came of a cluster's life."""

    pictures: list[dict[str, object]] = field(default_factory=list)
    """All objects after each step."""
    successors: int = 0


async def live(
    world: World, client: Client, *, eventually, life: Iterable[Step] = LIFE, flags: Iterable[str] = ()
) -> Lived:
    """Live a cluster's life with an operator that has this client; a dead one is replaced by a healthy one."""
    lived = Lived()
    async with contextlib.AsyncExitStack() as stack:
        configuration = await load_config(world.plane.kubeconfig("operator"))
        own = ("--operator-namespace", world.namespace)
        options = manager.parse(["--watch-namespaces", world.watched, *own, *QUIET, *flags])

        def start(client: Client) -> asyncio.Task[None]:
            if isinstance(client, Mortal):
                client.keys = world.keys
            return asyncio.create_task(manager.assemble(client, options, instance="test").run(asyncio.Event()))

        current = await stack.enter_async_context(client)
        running = start(current)
        seen: dict[tuple[str, str], str] = {}
        try:
            for act, done in life:
                await act(world)

                async def arrived(done=done) -> bool:
                    nonlocal running, current
                    if current.dead.is_set():
                        running.cancel()
                        await asyncio.gather(running, return_exceptions=True)
                        seen.update(await world.uids())
                        current = await stack.enter_async_context(Mortal(configuration, 0))
                        running = start(current)
                        lived.successors += 1
                    return await done(world)

                await eventually(arrived)
                now = await world.uids()
                again = [key for key in seen.keys() & now.keys() if now[key] != seen[key]]
                assert not again, f"made again: {again}"
                lived.pictures.append(await world.picture())
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    return lived


@pytest.fixture
async def configuration(control_plane):
    return await load_config(control_plane.kubeconfig("operator"))


@pytest.fixture(scope="module")
def clean_lives() -> list[tuple[Lived, int]]:
    """The life without a fault, once a test has asked for it."""
    return []


@pytest.fixture
async def reference(new_world, in_time, configuration, clean_lives) -> tuple[Lived, int]:
    """What comes of a life without a fault, and the number of writes; lived once for all tests."""
    if not clean_lives:
        client = Mortal(configuration, 0)
        clean_lives.append((await live(await new_world(), client, eventually=in_time), client.writes))
    return clean_lives[0]


async def test_killed_after_any_of_its_writes_it_ends_as_if_it_had_not_been(
    new_world, in_time, configuration, reference
):
    clean, writes = reference
    assert [len(picture) for picture in clean.pictures] == [11, 11, 11, 11, 11, 0]
    assert writes >= 15
    limit = asyncio.Semaphore(TOGETHER)

    async def killed_after(k: int) -> int:
        async with limit:
            lived = await live(await new_world(), Mortal(configuration, k), eventually=in_time)
        assert lived.pictures == clean.pictures, f"after a kill at write {k}"
        return lived.successors

    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(killed_after(k)) for k in every(STEP, writes)]
    # Events that come together are one write or two, so the last kill or so may find nothing left to interrupt.
    assert sum(life.result() for life in lives) >= len(lives) - 2


@pytest.mark.parametrize(
    ("before", "part", "least", "left", "step"),
    [
        pytest.param(BACKED_UP, DELETION, 12, {"PersistentVolumeClaim/c-memory-backups"}, STEP, id="deletion"),
        pytest.param(UNMIGRATED, MIGRATION, 5, None, STEP, id="migration"),
        pytest.param(WITH_AGENTS, AGENTS, 12, None, STEP, id="agents"),
        pytest.param(SERVING, UPGRADE, 7, None, STEP, id="upgrade"),
        pytest.param(SERVING, SLEEP_AND_TOKENS, 8, None, STEP, id="hibernation and new tokens"),
        pytest.param((), secured.LIFE, 20, None, 2 * STEP, id="TLS and access"),
        pytest.param((), apart.CREATION, 30, None, STEP_APART, id="in other namespaces"),
        pytest.param(apart.CREATION, apart.DELETION, 8, set(), STEP_APART, id="deletion in other namespaces"),
    ],
)
async def test_killed_after_any_of_its_writes_a_part_of_a_life_ends_as_if_it_had_not_been(
    new_world, in_time, configuration, monkeypatch, before, part, least, left, step
):
    """A deletion with a final backup; a migration of legacy memory; agents; an upgrade that is rolled back; hibernation
    and new tokens; TLS and access, which rotate; a hive mind and agents elsewhere.
    """
    if part is secured.LIFE:  # it does not wait until the operator reads keys and CA again
        monkeypatch.setattr(cluster_keys, "INTERVAL", 1.0)
        monkeypatch.setattr(authority, "_MAX_AGE", 0.0)
    others = (apart.SWARM, apart.HIVE) if apart.CREATION in (before, part) else ()
    turns, writes = asyncio.Semaphore(4), 0

    async def end(k: int) -> tuple[dict[str, object], int]:
        """Return what is left when the operator is killed at its k-th write in this part, and how often."""
        client = Mortal(configuration, 0)

        def life() -> Iterator[Step]:
            nonlocal writes
            yield from before
            first = client.writes
            if k:
                client.last_write = first + k
            yield from part
            writes = client.writes - first if not k else writes

        async with turns:
            lived = await live(await new_world(*others), client, eventually=in_time, life=life())
        return lived.pictures[-1], lived.successors

    reference, _ = await end(0)
    assert left is None or reference.keys() == left
    assert writes >= least
    ends = await asyncio.gather(*map(end, every(step, writes)))
    assert [picture for picture, _ in ends] == [reference] * len(ends)
    assert sum(successors for _, successors in ends) >= len(ends) - 3


@pytest.mark.parametrize("faults", [(fault,) for fault in FAULTS] if LONG else [FAULTS], ids=" or ".join)
async def test_when_each_call_fails_once_it_ends_as_if_none_had(new_world, in_time, configuration, reference, faults):
    clean, _ = reference

    async def with_faults(share: int) -> dict[str, bool]:
        world = await new_world()
        client = Unlucky(configuration, world.namespace, faults, share)
        lived = await live(world, client, eventually=in_time)
        assert lived.pictures == clean.pictures
        events, _ = await world.admin.list(EVENTS, namespace=world.namespace)
        names = [e["regarding"]["name"] + e["note"] for e in events if re.match("created ", e["note"])]
        assert len(names) == len(set(names)), "an event says twice that something was created"
        return client.called

    called = await asyncio.gather(*map(with_faults, range(SHARES)))
    failed = {call for each in called for call, failed in each.items() if failed}
    # A list is called only where its stream has failed.
    assert set.intersection(*map(set, called)) <= failed
    assert len([call for call in failed if call.startswith(("GET", "WATCH"))]) >= 8
    assert len([call for call in failed if not call.startswith(("GET", "WATCH"))]) >= 8
