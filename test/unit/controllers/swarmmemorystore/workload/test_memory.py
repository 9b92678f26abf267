"""When a cache of another size takes another pod."""

import copy

import pytest

from swarm_operator.controllers.swarmmemorystore.workload.memory import resources, suffices, with_present_memory
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set


def of(workload):
    return workload["spec"]["template"]["spec"]["containers"][0]["resources"]


@pytest.fixture
def made(store):
    return lambda **spec: stateful_set(store(**spec), image="i")


@pytest.mark.parametrize(("before", "after", "kept"), [(100, 100, 100), (100, 1, 100), (832, 320, 832), (50, 51, 51)])
def test_memory_that_suffices_is_kept(made, store, before, after, kept):
    live = made(cacheMemoryMB=before)
    wanted = with_present_memory(made(cacheMemoryMB=after), live)
    assert of(wanted) == resources(kept)
    assert suffices(live, store(cacheMemoryMB=after)) is (kept == before)
    if kept == before:
        assert wanted["spec"]["template"] == live["spec"]["template"]


def test_a_pod_that_is_replaced_anyway_gets_what_it_needs(made):
    wanted = with_present_memory(made(cacheMemoryMB=1, enableWAL=False), made(cacheMemoryMB=100))
    assert of(wanted) == resources(1)


@pytest.mark.parametrize("live", [None, 100])
def test_a_store_without_a_pod_gets_what_it_needs(made, live):
    wanted = with_present_memory(
        made(cacheMemoryMB=1, hibernated=True), live and made(cacheMemoryMB=live, hibernated=True)
    )
    assert of(wanted) == resources(1)


@pytest.mark.parametrize(
    "foreign",
    [{}, {"requests": {"memory": "lots"}}, {"requests": {"memory": "1Gi", "cpu": "50m"}, "limits": {"memory": "3Gi"}}],
)
def test_resources_that_are_not_ours_are_put_right(made, store, foreign):
    live = copy.deepcopy(made())
    live["spec"]["template"]["spec"]["containers"][0]["resources"] = foreign
    assert of(with_present_memory(made(), live)) == resources(50)
    assert suffices(live, store(cacheMemoryMB=60_000))
