"""Events of deletions, restores and lives in several namespaces never come: the next full list makes up for them.

See test_watch_faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from fault import apart
from fault.test_restore_crashes import IN_PLACE, READY, RESTORED, UNRESTORED, without_uid
from fault.test_watch_faults import TOGETHER, Dropping, operator
from fault.world import BACKED_UP, DELETION, Step, World
from support.budget import budget, every

from swarm_operator.runtime.config import load_config

STEP = budget(8, long=4)
"""Each event whose number is a multiple of it, after a random one, is left out, one in each world."""

STEP_APART = budget(30, long=15)
"""The same, for a life of three namespaces, which costs more."""


async def play(world: World, in_time, steps: Iterable[Step]) -> None:
    for step, done in steps:
        await step(world)
        await in_time(lambda done=done: done(world))


@pytest.mark.parametrize(
    ("before", "part", "begun"),
    [
        pytest.param(BACKED_UP, DELETION, {}, id="deletion with a final backup"),
        pytest.param(READY, IN_PLACE, {"whole": 1, "part": 1}, id="restores in place"),
        pytest.param(UNRESTORED, RESTORED, {}, id="a restore into a new store"),
        pytest.param((), apart.CREATION, {}, id="in other namespaces"),
        pytest.param(apart.CREATION, apart.DELETION, {}, id="deletion in other namespaces"),
    ],
)
async def test_without_any_event_it_ends_as_if_all_had_come(
    new_world, in_time, control_plane, memories, before, part, begun
):
    configuration = await load_config(control_plane.kubeconfig("operator"))
    served, url = memories
    is_apart = apart.CREATION in (before, part)
    others, step = ((apart.SWARM, apart.HIVE), STEP_APART) if is_apart else ((), STEP)
    # Where a Job makes the backup, a service that has one already would be asked by an operator that is behind.
    flags = () if is_apart or part is DELETION else ("--memory-url", url)
    limit = asyncio.Semaphore(TOGETHER)

    async def end(left_out: int, reference: str = "") -> tuple[str, int]:
        """Return what is left without one event of the part, and the number of its events."""
        world, client = await new_world(*others), Dropping(configuration, ())
        async with limit, client, operator(world, client, relist=True, flags=flags):
            await play(world, in_time, before)
            first = client.events
            client.dropped = {first + left_out} if left_out else ()
            await play(world, in_time, part)

            async def picture() -> str:
                found = without_uid(await world.picture())
                assert not reference or found.splitlines() == reference.splitlines(), f"without event {left_out}"
                return found

            found = await in_time(picture)
            assert {name: count for (its, name), count in served.begun.items() if its == world.namespace} == begun
            return found, client.events - first

    reference, events = await end(0)
    assert events >= step
    async with asyncio.TaskGroup() as group:
        for left_out in every(step, events):
            group.create_task(end(left_out, reference))
