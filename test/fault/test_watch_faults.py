"""What the operator hears of the world is incomplete, old or late: it must end the same, and break nothing meanwhile.

After Sieve (OSDI '22): unobserved states (an event that never comes), stale states (a list out of an old view after a
restart), and a watch that is so late that the operator's own writes come back long after it has made the next ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import Iterable

import pytest
from fault.world import QUIET, SCENARIO, WATCHED, World
from support.budget import budget, every

from swarm_operator.cmd import manager
from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import InvalidError
from swarm_operator.runtime.events import EVENTS
from swarm_operator.runtime.metrics import RECONCILE_RESULTS, Metrics
from swarm_operator.runtime.reflector import INITIAL_EVENTS_END

METRICS = Metrics()
"""Those of all operators here together."""

TOGETHER = 6
"""Worlds in which a scenario is played at the same time."""

STEP = budget(6, long=2)
"""Each event whose number is a multiple of it, after a random one, is lost: some runs later each was."""

SERVICE = (kinds.SERVICE.kind, "c-memory")


class Tampered(Client):
    """A real client whose watches pass through `tamper`."""

    def __init__(self, configuration) -> None:
        super().__init__(configuration, user_agent="swarm-operator/test")
        self.writes = 0

    async def request(self, method, path, **arguments):
        self.writes += method != "GET" and "/events" not in path
        return await super().request(method, path, **arguments)

    @contextlib.asynccontextmanager
    async def watch(self, resource, **options):
        async with (
            super().watch(resource, **options) as events,
            contextlib.aclosing(self.tamper(events, initial=options.get("send_initial_events", False))) as tampered,
        ):
            yield tampered

    async def tamper(self, events, *, initial):
        del initial
        async for event in events:
            yield event


class Dropping(Tampered):
    """Some events never come: those with these numbers, counted from 1 over all watches. Initial lists are whole."""

    def __init__(self, configuration, dropped) -> None:
        super().__init__(configuration)
        self.dropped = dropped
        self.events = 0

    async def tamper(self, events, *, initial):
        async for event in events:
            metadata = event["object"]["metadata"]
            if event["type"] == "BOOKMARK":
                initial = initial and INITIAL_EVENTS_END not in metadata.get("annotations", {})
            elif not initial:
                self.events += 1
                if self.events in self.dropped:
                    # The version goes on, or the next watch would bring it after all.
                    yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": metadata["resourceVersion"]}}}
                    continue
            yield event


class Late(Tampered):
    """Every event, bookmark and end of a watch comes late, in order."""

    seconds = 5.0

    async def tamper(self, events, *, initial):
        del initial
        arrived: asyncio.Queue[tuple[float, object]] = asyncio.Queue()

        async def receive():
            try:
                async for event in events:
                    arrived.put_nowait((time.monotonic(), event))
            except Exception as error:  # noqa: BLE001 - handed on below
                arrived.put_nowait((time.monotonic(), error))
            arrived.put_nowait((time.monotonic(), None))

        receiving = asyncio.create_task(receive())
        try:
            while True:
                at, event = await arrived.get()
                await asyncio.sleep(at + self.seconds - time.monotonic())
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


class Stale(Tampered):
    """The first list of each kind comes out of an old view, and no watch brings anything until `caught_up` is set."""

    def __init__(self, configuration, view) -> None:
        super().__init__(configuration)
        self.view = copy.deepcopy(view)
        self.caught_up = asyncio.Event()

    async def list(self, resource, **options):
        if resource in self.view:
            return self.view.pop(resource)
        return await super().list(resource, **options)

    @contextlib.asynccontextmanager
    async def watch(self, resource, **options):
        if options["send_initial_events"]:
            # Only a plain list can be stale: a streamed one is asked for in the newest state.
            raise InvalidError("no streams here")
        await self.caught_up.wait()
        async with super().watch(resource, **options) as events:
            yield events


@contextlib.asynccontextmanager
async def operator(world: World, client: Client, *, relist: bool = False, flags: Iterable[str] = ()):
    options = manager.parse(["--watch-namespaces", world.watched, *QUIET, *flags])
    assembled = manager.assemble(client, options, instance="test", metrics=METRICS)
    for informer in assembled.cache.informers:
        if relist:
            informer.reflector.watch_seconds, informer.reflector.relist_seconds = (2, 2), 0.0
    running = asyncio.create_task(assembled.run(asyncio.Event()))
    try:
        yield
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def act(world: World, eventually, steps=SCENARIO) -> dict:
    """Play steps; no object may be made again. Returns the uids in the end."""
    seen: dict = {}
    for step, done in steps:
        await step(world)
        await eventually(lambda done=done: done(world))
        now = await world.uids()
        assert {key: now.get(key) for key in seen} == seen, "an object was made again"
        seen = now
    return seen


async def lose_a_service(world: World) -> None:
    """A user deletes what the operator made."""
    uid = (await world.get(kinds.SERVICE, "c-memory"))["metadata"]["uid"]
    await world.admin.delete(kinds.SERVICE, world.namespace, "c-memory", uid=uid)


async def has_service(world: World) -> bool:
    return bool(await world.get(kinds.SERVICE, "c-memory"))


async def play_dropping(world: World, configuration, dropped, eventually, *, reference=None) -> tuple[int, object]:
    """Returns the number of events, and the picture in the end, which is the reference, if there is one."""
    async with Dropping(configuration, dropped) as client, operator(world, client, relist=True):
        before = await act(world, eventually)
        await lose_a_service(world)
        await eventually(lambda: has_service(world))
        picture = await world.picture()

        async def converged() -> bool:
            nonlocal picture
            picture = await world.picture()
            for name in reference or {}:
                assert picture.get(name) == reference[name], f"{name} without events {list(dropped)}"
            return True

        await eventually(converged)
        assert before | {SERVICE: None} == await world.uids() | {SERVICE: None}
        return client.events, picture


@pytest.fixture
async def configuration(control_plane):
    return await load_config(control_plane.kubeconfig("operator"))


@pytest.mark.parametrize("length", [1, 2], ids=["any event", "any two in a row"])
async def test_an_event_that_never_comes_is_made_up_for_by_the_next_full_list(
    new_world, in_time, configuration, length
):
    """Two in a row are, among others, the deletion of an object and the creation of its successor."""
    events, reference = await play_dropping(await new_world(), configuration, (), in_time)
    assert events >= 10
    limit = asyncio.Semaphore(TOGETHER)

    async def without(first: int) -> None:
        async with limit:
            world = await new_world()
            dropped = range(first, first + length)
            await play_dropping(world, configuration, dropped, in_time, reference=reference)

    async with asyncio.TaskGroup() as group:
        for first in every(STEP, events):
            group.create_task(without(first))


def reconciles(controller: str) -> float:
    return sum(
        METRICS.registry.get_sample_value(
            "controller_runtime_reconcile_total", {"controller": controller, "result": result}
        )
        or 0.0
        for result in RECONCILE_RESULTS
    )


def without_generations(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_generations(v) for k, v in value.items() if k not in {"generation", "observedGeneration"}}
    return [without_generations(part) for part in value] if isinstance(value, list) else value


async def view_of(world: World) -> dict:
    """What lists would say now, of every kind that is watched."""
    watched = (*(kind for kind in WATCHED if kind != kinds.SECRET), kinds.POD)
    return {kind: await world.admin.list(kind, namespace=world.namespace) for kind in watched}


@pytest.mark.parametrize("old", ["everything", "children", "custom resources"])
@pytest.mark.parametrize("age", [0, 1], ids=["before there were children", "before the last change"])
async def test_a_list_out_of_an_old_view_after_a_restart_deletes_and_recreates_nothing(
    new_world, in_time, configuration, old, age
):
    world = await new_world()
    views = []
    create, change, ready = SCENARIO
    await create[0](world)
    views.append(await view_of(world))
    async with Tampered(configuration) as client, operator(world, client):
        before = await act(world, in_time, [create])
        views.append(await view_of(world))
        assert await act(world, in_time, [change, ready]) == before
    picture = without_generations(await world.picture())

    custom = {kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE}
    chosen = {"everything": set(views[age]), "children": set(views[age]) - custom, "custom resources": custom}[old]
    view = {kind: found for kind, found in views[age].items() if kind in chosen}
    async with Stale(configuration, view) as client, operator(world, client):
        count = reconciles("swarmcluster") + reconciles("swarmmemorystore")

        async def acted() -> bool:
            return reconciles("swarmcluster") + reconciles("swarmmemorystore") >= count + 2

        if any(found[0] for kind, found in view.items() if kind in custom) or old == "children":
            await in_time(acted)
        assert await world.uids() == before
        client.caught_up.set()
        await act(world, in_time, [change])

        async def converged() -> bool:
            # An old spec may be applied to a child for a while, which is its next generation, and that gets ready too.
            await ready[0](world)
            assert without_generations(await world.picture()) == picture
            return True

        await in_time(converged)
        assert await world.uids() == before


async def history_of(world: World, histories: dict) -> None:
    """Collect each state that the custom resources' statuses go through."""

    async def follow(resource) -> None:
        _, version = await world.admin.list(resource, namespace=world.namespace)
        async with world.admin.watch(
            resource, namespace=world.namespace, resource_version=version, timeout_seconds=300, idle_seconds=300
        ) as events:
            async for event in events:
                status = event["object"].get("status") or {}
                conditions = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions", ())}
                state = {"phase": status.get("phase"), "generation": status.get("observedGeneration"), **conditions}
                history = histories.setdefault(resource.kind, [])
                if not history or history[-1] != state:
                    history.append(state)

    await asyncio.gather(follow(kinds.SWARM_CLUSTER), follow(kinds.SWARM_MEMORY_STORE))


async def played(world: World, client: Client, eventually) -> tuple[int, dict, object]:
    histories: dict = {}
    following = asyncio.create_task(history_of(world, histories))
    try:
        async with client, operator(world, client):
            await act(world, eventually)
            events, _ = await world.admin.list(EVENTS, namespace=world.namespace)
            created = [e["regarding"]["name"] + e["note"] for e in events if e["note"].startswith("created ")]
            assert len(created) == len(set(created)), "an event says twice that something was created"
            return client.writes, histories, await world.picture()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_events_that_come_five_seconds_late_make_no_duplicates_and_no_status_flaps(
    new_world, in_time, configuration
):
    writes, _, reference = await played(await new_world(), Tampered(configuration), in_time)
    late_writes, histories, picture = await played(await new_world(), Late(configuration), in_time)
    assert picture == reference
    assert late_writes <= writes, "nothing is written again because it was not heard of yet"
    assert set(histories) == {"SwarmCluster", "SwarmMemoryStore"}
    for kind, history in histories.items():
        again = [state for state in history if history.count(state) > 1]
        assert not again, f"the status of the {kind} went back to an earlier one"
