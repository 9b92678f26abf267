"""The operator dies after a write of a restore: in place, whole and in part, and of a new store. See test_crash_matrix.

A restore is begun once, whatever happens: what was written after it must not be lost to a second one.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator

import pytest
from fault.test_crash_matrix import Mortal, live
from fault.world import Step, World, become_ready
from support.budget import budget, every

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.resource import Resource

BACKUP, RESTORE, STORE = kinds.SWARM_MEMORY_BACKUP, kinds.SWARM_MEMORY_RESTORE, kinds.SWARM_MEMORY_STORE
DESTINATION = {"claimName": "c-memory-backups"}
STEP = budget(5, long=3)
"""The operator is killed at each write whose number is a multiple of it, after a random one."""
AT = "2026-11-26T03:00:00Z"


async def make(world: World, resource: Resource, name: str, spec: object) -> None:
    metadata = {"name": name, "namespace": world.namespace}
    body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}
    await world.admin.create(resource, body, field_manager="user")


async def create(world: World) -> None:
    """A user makes a cluster that keeps backups."""
    await world.cluster(size="1Gi", sqliteConfig={"backup": {}})


async def has_pod(world: World) -> bool:
    return bool(await world.get(kinds.STATEFUL_SET, "c-memory"))


async def is_available(world: World) -> bool:
    ready = await condition(world, STORE, "c-memory", "Ready")
    assert ready["reason"] == "Available", ready
    return True


async def condition(world: World, resource: Resource, name: str, kind: str) -> dict[str, str]:
    conditions = (await world.get(resource, name)).get("status", {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == kind), {"reason": ""})


async def make_backup(world: World) -> None:
    """A user makes a backup."""
    await make(world, BACKUP, "b1", {"storeRef": {"name": "c-memory"}})


async def verify_backup(world: World) -> None:
    """The backup is verified."""
    ready = {"type": "Ready", "status": "True", "reason": "Verified", "message": "", "lastTransitionTime": AT}
    facts = {"location": "file:///backups/c/b1", "swarmId": "c", "destination": DESTINATION, "verifiedAt": AT}
    await world.status(BACKUP, "b1", {"phase": "Completed", "conditions": [ready], **facts})


async def is_verified(world: World) -> bool:
    return (await world.get(BACKUP, "b1"))["status"]["phase"] == "Completed"


async def restore_everything(world: World) -> None:
    """A user restores the store in place."""
    await make(world, RESTORE, "whole", {"storeRef": {"name": "c-memory"}, "from": {"backupRef": {"name": "b1"}}})


async def restore_a_part(world: World) -> None:
    """A user restores a namespace of the store."""
    source = {"location": "file:///backups/c/b1"}
    await make(world, RESTORE, "part", {"storeRef": {"name": "c-memory"}, "from": source, "namespaces": ["n"]})


async def everything_is_restored(world: World) -> bool:
    status = await restored(world, "whole")
    safety = (await world.get(BACKUP, status["safetyBackup"]))["status"]
    assert (safety["phase"], safety["reason"], safety["entries"]) == ("Completed", "PreRestore", 4)
    return True


async def a_part_is_restored(world: World) -> bool:
    return "safetyBackup" not in await restored(world, "part")


async def restored(world: World, name: str) -> dict[str, str]:
    found = await world.get(RESTORE, name)
    assert found["status"]["phase"] == "Completed", found["status"]
    assert not found["metadata"].get("finalizers")
    return found["status"]


async def create_from_backup(world: World) -> None:
    """A user makes a cluster from a backup that is not verified yet."""
    await world.cluster(size="1Gi", restoreFrom={"backupRef": {"name": "b1"}})
    await make_backup(world)


async def waits_for_the_backup(world: World) -> bool:
    assert (await condition(world, BACKUP, "b1", "Ready"))["reason"] == "NoDestination"
    return (await condition(world, STORE, "c-memory", "Restored"))["reason"] == "WaitingForBackup"


async def is_being_restored(world: World) -> bool:
    told = await condition(world, STORE, "c-memory", "Restored")
    assert told["reason"] == "Restoring", told
    return len((await world.admin.list(kinds.JOB, namespace=world.namespace))[0]) == 1


async def finish_restore(world: World) -> None:
    """The Job has restored the backup."""
    (job,) = (await world.admin.list(kinds.JOB, namespace=world.namespace))[0]
    why = {"status": "True", "lastTransitionTime": AT, "reason": "CompletionsReached"}
    complete = [{"type": kind, **why} for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"conditions": complete, "startTime": AT, "completionTime": AT, "succeeded": 1}
    await world.status(kinds.JOB, job["metadata"]["name"], status)


async def has_data_and_pod(world: World) -> bool:
    status = (await world.get(STORE, "c-memory"))["status"]
    assert status["restoredFrom"] == {"backup": "b1", "location": "file:///backups/c/b1", "restoredAt": AT}
    assert len((await world.admin.list(kinds.JOB, namespace=world.namespace))[0]) == 1
    return await has_pod(world) and await world.settled()


READY: tuple[Step, ...] = ((create, has_pod), (become_ready, is_available), (make_backup, is_verified))
IN_PLACE: tuple[Step, ...] = ((restore_everything, everything_is_restored), (restore_a_part, a_part_is_restored))
UNRESTORED: tuple[Step, ...] = ((create_from_backup, waits_for_the_backup),)
RESTORED: tuple[Step, ...] = ((verify_backup, is_being_restored), (finish_restore, has_data_and_pod))


def without_uid(picture: object) -> str:
    """Return a picture as text. The name of a safety backup has a part of the restore's uid."""
    return re.sub(r"whole-[0-9a-f]{8}", "whole-UID", json.dumps(picture, indent=1))


@pytest.mark.parametrize(
    ("before", "part", "least", "begun"),
    [
        pytest.param(READY, IN_PLACE, 9, {"whole": 1, "part": 1}, id="in place"),
        pytest.param(UNRESTORED, RESTORED, 5, {}, id="a new store"),
    ],
)
async def test_killed_after_any_of_its_writes_a_restore_ends_as_if_it_had_not_been(
    new_world, in_time, control_plane, memories, before, part, least, begun
):
    configuration = await load_config(control_plane.kubeconfig("operator"))
    turns, writes = asyncio.Semaphore(4), 0
    served, url = memories

    async def end(k: int) -> tuple[str, int]:
        """Return what is left when the operator is killed at its k-th write in this part, and how often."""
        client, world = Mortal(configuration, 0), await new_world()

        def life() -> Iterator[Step]:
            nonlocal writes
            yield from before
            first = client.writes
            if k:
                client.last_write = first + k
            yield from part
            writes = client.writes - first if not k else writes

        async with turns:
            lived = await live(world, client, eventually=in_time, life=life(), flags=("--memory-url", url))
        assert {name: count for (its, name), count in served.begun.items() if its == world.namespace} == begun
        return without_uid(lived.pictures[-1]), lived.successors

    reference, _ = await end(0)
    assert writes >= least
    kills = every(STEP, writes)
    ends = await asyncio.gather(*map(end, kills))
    for picture, _ in ends:
        assert picture.splitlines() == reference.splitlines()
    # Events that come together are one write or several, so the last kills may find nothing left to interrupt.
    assert sum(successors for _, successors in ends) >= len(kills) // 2
