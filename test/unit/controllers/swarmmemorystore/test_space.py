"""How full the volume is: the figure in the status, and the warnings before it is full."""

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore.space import settled, space
from swarm_operator.controllers.swarmmemorystore.stats import Observation
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")


@pytest.fixture
async def running(reconcile, seen, store_object, ready):
    """A store whose pod is ready."""
    seen(kinds.SWARM_MEMORY_STORE, store_object())
    await reconcile()
    ready()


@pytest.fixture
def used(numbers, observer, reconcile, clock):
    """Reconcile when the service has answered that so many percent are used."""

    async def answer(percent, fault=None):
        numbers.stats.volume_size_bytes, numbers.stats.volume_free_bytes = 1000, 1000 - round(10 * percent)
        numbers.stats.fault = fault
        observer.answer = Observation(numbers.stats)
        clock.advance(60)
        await reconcile()
        await reconcile()

    return answer


@pytest.mark.parametrize(
    ("used", "before", "reason"),
    [
        (79, "AsExpected", "AsExpected"),
        (80, "AsExpected", "NearlyFull"),
        (75, "NearlyFull", "NearlyFull"),
        (75, "AlmostFull", "NearlyFull"),
        (74, "NearlyFull", "AsExpected"),
        (74, "AlmostFull", "AsExpected"),
        (89, "NearlyFull", "NearlyFull"),
        (90, "AsExpected", "AlmostFull"),
        (85, "AlmostFull", "AlmostFull"),
        (84, "AlmostFull", "NearlyFull"),
        (100, "", "AlmostFull"),
    ],
)
def test_a_warning_ends_further_down_than_it_begins(used, before, reason):
    outcome = space(used, before, "")
    assert (outcome.reason, outcome.is_done) == (reason, reason == "AsExpected")


@pytest.mark.parametrize(
    ("exact", "stored", "shown"),
    [
        (79.9, None, 79),
        (79.9, 79, 79),
        (80.0, 79, 80),
        (79.5, 80, 80),
        (79.0, 80, 79),
        (100.0, 99, 100),
        (None, 80, 80),
        (None, None, None),
    ],
)
def test_a_figure_at_the_edge_between_two_percents_stays(exact, stored, shown):
    assert settled(exact, stored) == shown


@pytest.mark.usefixtures("running")
async def test_each_crossing_is_told_once_and_a_figure_that_moves_is_not_an_event(used, status, condition, recorder):
    await used(50)
    assert status()["volumeUsedPercent"] == 50
    assert (condition("SpaceAvailable")["status"], condition("SpaceAvailable")["reason"]) == ("True", "AsExpected")
    for percent in (79, 81, 82, 79, 81, 91, 93, 88, 86, 91, 84, 70):
        await used(percent)
    told = [event for event in recorder.events if "SpaceAvailable" in event[2]]
    assert [(kind, reason) for kind, reason, _ in told] == [
        ("Warning", "NearlyFull"),
        ("Warning", "AlmostFull"),
        ("Warning", "NearlyFull"),
    ]
    assert condition("SpaceAvailable")["status"] == "True"


@pytest.mark.usefixtures("running")
async def test_a_volume_that_takes_no_writes_is_full_whatever_its_reserve_leaves(used, status, condition):
    await used(60, fault="disk-full")
    assert (status()["volumeUsedPercent"], condition("SpaceAvailable")["reason"]) == (100, "AlmostFull")


@pytest.mark.usefixtures("running")
async def test_figures_that_move_within_a_percent_write_nothing(used, client):
    await used(50.2)
    client.requests.clear()
    for percent in (50.9, 49.5, 50.5):
        await used(percent)
    assert client.writes() == []


@pytest.mark.usefixtures("running")
async def test_the_last_figure_counts_while_the_pod_is_down(used, status, condition, seen, cache, reconcile):
    await used(92)
    workload = cache.get(kinds.STATEFUL_SET, KEY)
    seen(kinds.STATEFUL_SET, workload | {"status": workload["status"] | {"readyReplicas": 0}})
    await reconcile()
    assert condition("Reachable")["reason"] == "PodNotReady"
    assert (status()["volumeUsedPercent"], condition("SpaceAvailable")["reason"]) == (92, "AlmostFull")


@pytest.mark.usefixtures("running")
async def test_an_older_service_that_does_not_say_it_leaves_it_unknown(numbers, observer, reconcile, condition):
    numbers.stats.volume_size_bytes = numbers.stats.volume_free_bytes = None
    observer.answer = numbers
    await reconcile()
    assert condition("Reachable")["status"] == "True"
    assert condition("SpaceAvailable")["reason"] == "NotMeasured"


async def test_before_the_first_answer_it_is_unknown(reconcile, seen, store_object, condition, status, recorder):
    seen(kinds.SWARM_MEMORY_STORE, store_object())
    await reconcile()
    told = condition("SpaceAvailable")
    assert (told["status"], told["reason"], "volumeUsedPercent" in status()) == ("Unknown", "NotMeasured", False)
    assert "NotMeasured" not in recorder.reasons
