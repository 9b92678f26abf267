"""The operator dies after each of its writes and a new one goes on: all ends the same. See fault/test_crash_matrix."""

import asyncio
import copy

import pytest
from unit.controllers.swarmmemorybackup.conftest import KEY, state

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorybackup import SwarmMemoryBackupReconciler
from swarm_operator.controllers.swarmmemorybackup.copy import FINALIZER
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.runtime.errors import UnreachableError

KIND = kinds.SWARM_MEMORY_BACKUP
BUCKET = {"objectStore": {"url": "s3://bucket/p"}}


class DiedError(UnreachableError):
    """The operator has died."""


@pytest.fixture
def mortal(client, monkeypatch):
    """Makes the operator die when its k-th write is done, or never for 0; counts its writes."""
    counted = {"writes": 0, "last": 0}

    def dying(method):
        async def call(*args, **kwargs):
            answer = await method(*args, **kwargs)
            counted["writes"] += 1
            if counted["writes"] == counted["last"]:
                raise DiedError("died")
            return answer

        return call

    for name in ("create", "apply", "merge"):
        monkeypatch.setattr(client, name, dying(getattr(client, name)))
    return counted


@pytest.fixture
def live(cache, client, recorder, clock, service, mortal):
    """Reconciles until nothing changes any more, with a new operator after a death; returns how often one died."""

    async def run(last):
        mortal.update(writes=0, last=last)
        deaths, quiet = 0, 0
        reconciler, enqueued = None, []
        (informer,) = cache.add(KIND)
        while quiet < 3:
            if reconciler is None:
                reconciler = SwarmMemoryBackupReconciler(cache, recorder, service, "image:v1", clock=clock)
                reconciler.calls.enqueue = reconciler.deletions.enqueue = enqueued.append
            before = mortal["writes"]
            try:
                await reconciler.reconcile(KEY)
            except DiedError:
                deaths, reconciler = deaths + 1, None
            for _ in range(6):
                await asyncio.sleep(0)
            for (kind, key), obj in list(client.objects.items()):  # what the watch brings
                if (kind, key) == (KIND, KEY):
                    informer.changed(copy.deepcopy(obj))
            quiet = quiet + 1 if mortal["writes"] == before and reconciler else 0
        return deaths

    return run


async def test_killed_after_any_of_its_writes_a_copy_ends_as_if_it_had_not_been(
    live, seen, client, backup_object, ready_store, service, mortal
):
    ends = []
    for last in range(12):
        ready_store()
        seen(KIND, backup_object())
        service.answers = [state("Running"), state("Verifying"), state()]
        service.asked.clear()
        deaths = await live(last)
        found = client.objects[KIND, KEY]
        ends.append({"finalizers": found["metadata"]["finalizers"], "status": found["status"]})
        if last and not deaths:
            break
    assert last > 3, "there are so many writes"
    assert all(end == ends[0] for end in ends)
    assert ends[0]["status"]["phase"] == "Completed"


async def test_killed_after_any_of_its_writes_a_deletion_ends_as_if_it_had_not_been(
    live, seen, client, backup_object, service, mortal
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
        deaths = await live(last)
        (job,) = (found for (kind, _), found in client.objects.items() if kind == kinds.JOB)
        job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        deaths += await live(max(0, last - mortal["writes"]))
        assert client.objects[KIND, KEY]["metadata"]["finalizers"] == ["other"]
        if last and not deaths:
            break
    assert last > 2, "there are so many writes"
