"""The claim grows by itself: how far, when, and never twice for one figure."""

import random

import pytest

from swarm_operator.api.v1alpha1.autogrow import Autogrow
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.growth import INTERVAL, larger
from swarm_operator.controllers.swarmmemorystore.stats import Observation
from swarm_operator.runtime.errors import ForbiddenError, ServerError
from swarm_operator.runtime.resource import Key

KEY, CLAIM = Key("ns", "bees"), Key("ns", "bees-data")
GIB = 1024**3


@pytest.mark.parametrize(
    ("requested", "settings", "size"),
    [
        ("10Gi", {"max": "50Gi"}, "12Gi"),
        ("10Gi", {"max": "50Gi", "step": "5Gi"}, "15Gi"),
        ("12Gi", {"max": "50Gi"}, "14746Mi"),
        ("10Gi", {"max": "11Gi"}, "11Gi"),
        ("10Gi", {"max": "11G"}, "11G"),
        ("10G", {"max": "50Gi"}, "11445Mi"),
        ("1000", {"max": "1Gi"}, "1Mi"),
        ("10Gi", {"max": "10Gi"}, None),
        ("10Gi", {"max": "5Gi"}, None),
    ],
)
def test_a_volume_grows_by_its_step_and_never_beyond_its_max(requested, settings, size):
    assert larger(Autogrow.model_validate(settings), requested) == size


@pytest.fixture
def operator(caching, recorder, observer, clock):
    """Makes operators, one after the other: each knows what is on the API server and nothing else."""

    def start():
        made = SwarmMemoryStoreReconciler(caching, recorder, observer, "image:v1", clock=clock, rng=random.Random(1))
        made.poller.enqueue = lambda _: None
        return made

    return start


class Volume:
    """A store with autogrow, its operator, and what Kubernetes and the memory service say of its volume."""

    def __init__(self, operator, tools):
        self.start = operator
        self.operator = operator()
        self.client, self.cache, self.seen, self.clock, self.observer, self.numbers, self.settle = tools

    async def passes(self, seconds=60.0):
        """Let time go by, and have the service asked once and the answer judged twice."""
        self.clock.advance(seconds)
        for _ in range(3):
            await self.operator.reconcile(KEY)
            await self.settle()

    async def used(self, percent, size=10 * GIB, seconds=60.0):
        self.numbers.volume_size_bytes, self.numbers.volume_free_bytes = size, size * (100 - percent) // 100
        self.observer.answer = Observation(self.numbers)
        await self.passes(seconds)

    def claim(self):
        return self.cache.get(kinds.PERSISTENT_VOLUME_CLAIM, CLAIM)

    @property
    def requested(self):
        return self.claim()["spec"]["resources"]["requests"]["storage"]

    def has(self, capacity):
        """Let the volume be as large as that."""
        status = {"phase": "Bound", "capacity": {"storage": capacity}}
        self.seen(kinds.PERSISTENT_VOLUME_CLAIM, self.claim() | {"status": status})

    def pod(self, *, ready):
        workload = self.cache.get(kinds.STATEFUL_SET, KEY)
        self.seen(kinds.STATEFUL_SET, workload | {"status": workload["status"] | {"readyReplicas": int(ready)}})

    @property
    def tries(self):
        return [request for request in self.client.writes() if request[1] == "PersistentVolumeClaim"]


@pytest.fixture
async def volume(operator, client, cache, seen, clock, observer, numbers, store_object, ready, turn):
    made = Volume(operator, (client, cache, seen, clock, observer, numbers.stats, turn))
    seen(kinds.SWARM_MEMORY_STORE, store_object(storageSize="10Gi", autogrow={"threshold": 85, "max": "15Gi"}))
    await made.operator.reconcile(KEY)
    ready()
    made.has("10Gi")
    client.requests.clear()
    return made


async def test_a_volume_grows_at_its_threshold(volume, recorder, status):
    await volume.used(84)
    assert (volume.requested, volume.tries) == ("10Gi", [])
    await volume.used(85)
    assert volume.requested == "12Gi"
    (event,) = [event for event in recorder.events if event[1] == "Growing"]
    assert event[0] == "Normal"
    assert event[2].endswith("PersistentVolumeClaim bees-data grows from 10Gi to 12Gi")
    assert status()["phase"] == "Ready"


async def test_a_full_volume_grows(volume):
    volume.numbers.fault = "disk-full"
    await volume.used(60)
    assert volume.requested == "12Gi"


async def test_a_volume_grows_once_until_the_service_has_seen_it_grown(volume, condition):
    await volume.used(90)
    await volume.used(90, seconds=INTERVAL + 1)
    assert volume.requested == "12Gi", "the growth is not complete"
    volume.has("12Gi")
    await volume.used(90, seconds=INTERVAL + 1)
    assert volume.requested == "12Gi", "the file system is as before"
    assert f"still the {10 * GIB} bytes from before" in condition("SpaceAvailable")["message"]
    await volume.used(88, size=12 * GIB, seconds=INTERVAL + 1)
    assert volume.requested == "14746Mi", "it has grown, and is that full again"
    assert "bytes from before" not in condition("SpaceAvailable")["message"]


async def test_a_volume_grows_at_most_once_in_ten_minutes(volume):
    await volume.used(90)
    volume.has("12Gi")
    await volume.used(88, size=12 * GIB, seconds=INTERVAL - 60)
    assert volume.requested == "12Gi"
    await volume.used(88, size=12 * GIB, seconds=61)
    assert volume.requested == "14746Mi"


@pytest.mark.parametrize("jump", [-10 * INTERVAL, -1.0, 10 * INTERVAL])
async def test_a_clock_that_jumps_makes_no_second_growth(volume, jump, monkeypatch):
    await volume.used(90)
    volume.has("12Gi")
    monotonic = volume.clock.monotonic()
    monkeypatch.setattr(type(volume.clock), "monotonic", lambda _: monotonic)
    volume.operator.poller._monotonic = lambda: monotonic + 10 * INTERVAL  # it is asked all the same
    await volume.used(88, size=12 * GIB, seconds=jump)
    assert volume.requested == "12Gi"


async def test_an_operator_that_starts_anew_makes_no_second_growth(volume):
    await volume.used(90)
    volume.has("12Gi")
    for seconds in (30, INTERVAL + 1):  # in the second turn only the old figure says that it is full
        volume.operator = volume.start()
        volume.observer.answer = Observation(error="no answer")
        await volume.passes(seconds)
        assert volume.requested == "12Gi"
    await volume.used(70, size=12 * GIB)
    volume.operator = volume.start()
    volume.pod(ready=False)
    await volume.passes(INTERVAL + 1)
    assert volume.requested == "12Gi", "the newest figure counts"


async def test_an_operator_that_ends_before_it_has_stored_the_new_figure_makes_no_second_growth(volume, client):
    await volume.used(90)
    volume.has("12Gi")
    client.refusals["apply status", "SwarmMemoryStore"] = ServerError("down", status=500)
    with pytest.raises(ServerError):
        await volume.used(70, size=12 * GIB)
    client.refusals.clear()
    volume.operator = volume.start()
    volume.pod(ready=False)
    await volume.passes(INTERVAL + 1)
    assert volume.requested == "12Gi", "the stored figure is from before"


async def test_a_volume_that_somebody_else_grows_is_left_alone_until_that_is_complete(volume, seen, cache):
    store = cache.get(kinds.SWARM_MEMORY_STORE, KEY)
    seen(kinds.SWARM_MEMORY_STORE, store | {"spec": store["spec"] | {"storageSize": "11Gi"}})
    for _ in range(2):
        await volume.used(90)
        assert volume.requested == "11Gi"
    volume.has("11Gi")
    await volume.used(90)
    assert volume.requested == "13517Mi"


async def test_an_operator_that_starts_anew_waits_ten_minutes_too(volume):
    await volume.used(90)
    volume.has("12Gi")
    volume.operator = volume.start()
    await volume.used(88, size=12 * GIB, seconds=60)
    await volume.used(88, size=12 * GIB, seconds=INTERVAL - 61)
    assert volume.requested == "12Gi"
    await volume.used(88, size=12 * GIB, seconds=60)
    assert volume.requested == "14746Mi"


async def test_a_volume_grows_while_the_pod_is_down(volume):
    volume.numbers.fault = None
    await volume.used(84)
    stored = volume.cache.get(kinds.SWARM_MEMORY_STORE, KEY)
    full = stored | {"status": stored["status"] | {"volumeUsedPercent": 99}}
    volume.seen(kinds.SWARM_MEMORY_STORE, full)
    volume.pod(ready=False)
    volume.operator = volume.start()
    await volume.passes()
    assert volume.requested == "12Gi"
    volume.has("12Gi")
    await volume.passes(INTERVAL + 1)
    assert volume.requested == "12Gi", "nobody has seen how full it is since"


async def test_a_refused_growth_is_told_and_tried_again_in_ten_minutes(volume, client, condition, status, recorder):
    client.refusals["apply", "PersistentVolumeClaim"] = ForbiddenError("the class cannot", status=403)
    await volume.used(90)
    for _ in range(5):
        await volume.used(91)
    assert len(volume.tries) == 1
    told = condition("SpaceAvailable")
    assert (told["reason"], "autogrow was refused: the class cannot" in told["message"]) == ("AlmostFull", True)
    assert (status()["phase"], recorder.reasons.count("GrowthRefused")) == ("Ready", 1)
    await volume.used(91, seconds=INTERVAL)
    assert len(volume.tries) == 2
    client.refusals.clear()
    await volume.used(91, seconds=INTERVAL)
    assert volume.requested == "12Gi"
    await volume.used(91)
    assert "refused" not in condition("SpaceAvailable")["message"]


async def test_a_volume_at_its_max_is_told(volume, condition, seen, cache):
    store = cache.get(kinds.SWARM_MEMORY_STORE, KEY)
    seen(kinds.SWARM_MEMORY_STORE, store | {"spec": store["spec"] | {"autogrow": {"max": "10Gi"}}})
    await volume.used(82)
    assert condition("SpaceAvailable")["message"].endswith("autogrow.max of 10Gi is reached")
    assert volume.tries == []


async def test_a_larger_size_in_the_spec_wins_and_a_smaller_one_shrinks_nothing(volume, seen, cache):
    await volume.used(90)
    volume.has("12Gi")
    await volume.used(50, size=12 * GIB)
    mark = volume.claim()["metadata"]["annotations"][labels.AUTOGROWN]
    assert " from " not in mark
    assert volume.requested == "12Gi"
    store = cache.get(kinds.SWARM_MEMORY_STORE, KEY)
    seen(kinds.SWARM_MEMORY_STORE, store | {"spec": store["spec"] | {"storageSize": "20Gi"}})
    await volume.used(50, size=12 * GIB)
    assert (volume.requested, volume.claim()["metadata"]["annotations"][labels.AUTOGROWN]) == ("20Gi", mark)


async def test_without_autogrow_nothing_grows(volume, seen, cache):
    store = cache.get(kinds.SWARM_MEMORY_STORE, KEY)
    seen(kinds.SWARM_MEMORY_STORE, store | {"spec": {"storageSize": "10Gi"}})
    await volume.used(99)
    assert volume.tries == []


@pytest.mark.parametrize("mark", ["", "yesterday", "2026-11-23T12:00:00", " from 5", "2026-11-23T12:00:00Z from many"])
async def test_a_mark_that_somebody_has_spoilt_keeps_nothing_from_growing(volume, mark):
    annotations = {**volume.claim()["metadata"]["annotations"], labels.AUTOGROWN: mark}
    claim = volume.claim()
    volume.seen(kinds.PERSISTENT_VOLUME_CLAIM, claim | {"metadata": claim["metadata"] | {"annotations": annotations}})
    await volume.used(90, seconds=INTERVAL + 1)
    assert volume.requested == "12Gi"
