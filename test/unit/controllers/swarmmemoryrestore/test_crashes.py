"""The operator dies after each write and a new one goes on: the restore is carried out once and ends the same."""

import pytest
from unit.controllers.swarmmemoryrestore.conftest import KEY, KIND, NAME, SAFETY, observed

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorybackup.service import Answer
from swarm_operator.controllers.swarmmemoryrestore import SwarmMemoryRestoreReconciler
from swarm_operator.controllers.swarmmemoryrestore.restore import FINALIZER
from swarm_operator.runtime.resource import Key


class Service:
    """Carries restores out in three steps, by their names, and counts how often it starts one."""

    def __init__(self):
        self.steps = {}
        self.started = 0

    async def advance(self, service, name, request, *, known, again):
        if name not in self.steps:
            if known:
                return Answer(reason="OutcomeUnknown", message="no record")
            self.started += 1
            self.steps[name] = [observed("Fetching"), observed("Swapping"), observed(safety=[SAFETY])]
        steps = self.steps[name]
        return Answer(steps.pop(0) if len(steps) > 1 else steps[0])


@pytest.mark.parametrize("deleted", [False, True])
async def test_killed_after_any_of_its_writes_it_ends_as_if_it_had_not_been(
    live, seen, client, restore_object, ready_store, backup, cache, caching, recorder, clock, deleted
):
    ends = []
    for last in range(12):
        service = Service()
        ready_store()
        backup()
        client.objects.pop((kinds.SWARM_MEMORY_BACKUP, Key("ns", SAFETY)), None)
        (backups,) = cache.add(kinds.SWARM_MEMORY_BACKUP)
        backups.replaced([client.objects[kinds.SWARM_MEMORY_BACKUP, Key("ns", "b1")]], str(client.version))
        obj = restore_object()
        if deleted:  # while it runs
            service.steps[NAME] = [observed("Fetching"), observed("Swapping"), observed(safety=[SAFETY])]
            obj["metadata"] |= {"deletionTimestamp": "2026-11-23T12:00:00Z", "finalizers": [FINALIZER]}
            obj["status"] = {"phase": "Fetching", "location": "file:///b", "storeUID": "uid-bees"}
        seen(KIND, obj)

        def make(service=service):
            return SwarmMemoryRestoreReconciler(caching, recorder, service, clock=clock)

        deaths = await live(last, KIND, KEY, make)
        found = client.objects[KIND, KEY]
        assert service.started == (0 if deleted else 1)
        assert (kinds.SWARM_MEMORY_BACKUP, Key("ns", SAFETY)) in client.objects
        assert found["metadata"]["finalizers"] == []
        ends.append(found["status"])
        if last and not deaths:
            break
    assert last > (2 if deleted else 5), "there are so many writes"
    assert all(end == ends[0] for end in ends)
    assert ends[0]["phase"] == ("Deleting" if deleted else "Completed")
