"""The operator dies after each of its writes and a new one goes on: all ends the same. See fault/test_crash_matrix."""

import pytest
from unit.controllers.swarmmemorybackup.conftest import KEY, state

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorybackup import SwarmMemoryBackupReconciler
from swarm_operator.controllers.swarmmemorybackup.copy import FINALIZER
from swarm_operator.controllers.swarmmemorybackup.service import Answer

KIND = kinds.SWARM_MEMORY_BACKUP
BUCKET = {"objectStore": {"url": "s3://bucket/p"}}


@pytest.fixture
def make(caching, recorder, clock, service):
    return lambda: SwarmMemoryBackupReconciler(caching, recorder, service, "image:v1", clock=clock)


async def test_killed_after_any_of_its_writes_a_copy_ends_as_if_it_had_not_been(
    live, make, seen, client, backup_object, ready_store, service
):
    ends = []
    for last in range(12):
        ready_store()
        seen(KIND, backup_object())
        service.answers = [state("Running"), state("Verifying"), state()]
        service.asked.clear()
        deaths = await live(last, KIND, KEY, make)
        found = client.objects[KIND, KEY]
        ends.append({"finalizers": found["metadata"]["finalizers"], "status": found["status"]})
        if last and not deaths:
            break
    assert last > 3, "there are so many writes"
    assert all(end == ends[0] for end in ends)
    assert ends[0]["status"]["phase"] == "Completed"


async def test_killed_after_any_of_its_writes_a_deletion_ends_as_if_it_had_not_been(
    live, make, seen, client, backup_object, service, mortal
):
    service.answers = [Answer()]
    for last in range(12):
        obj = backup_object(deletionTimestamp="2026-11-23T12:00:00Z", finalizers=["other", FINALIZER])
        location = {"location": "s3://bucket/p/bees/b1", "swarmId": "bees"}
        obj["status"] = {"phase": "Completed", "destination": BUCKET, **location}
        seen(KIND, obj)
        for kind, key in list(client.objects):
            if kind == kinds.JOB:
                del client.objects[kind, key]
        deaths = await live(last, KIND, KEY, make)
        (job,) = (found for (kind, _), found in client.objects.items() if kind == kinds.JOB)
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        deaths += await live(max(0, last - mortal["writes"]), KIND, KEY, make)
        assert client.objects[KIND, KEY]["metadata"]["finalizers"] == ["other"]
        if last and not deaths:
            break
    assert last > 2, "there are so many writes"
