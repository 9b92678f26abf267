from datetime import UTC, datetime, timedelta

import pytest

from swarm_operator.controllers.swarmmemorystore.workload import availability as module
from swarm_operator.controllers.swarmmemorystore.workload.availability import availability

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def workload_with(**status):
    ready = {"observedGeneration": 3, "readyReplicas": 1, "currentRevision": "b", "updateRevision": "b"}
    return {"metadata": {"name": "bees", "generation": 3}, "status": ready | status}


def pod_with(**status):
    return {"metadata": {"name": "bees-0"}, "status": status}


def waiting(reason, message=""):
    return pod_with(containerStatuses=[{"state": {"waiting": {"reason": reason, "message": message}}}])


def unscheduled(seconds, **more):
    since = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "PodScheduled", "status": "False", "lastTransitionTime": since, "message": "0/1 nodes"}
    return pod_with(conditions=[{"type": "Initialized", "status": "False"}, condition | more])


@pytest.mark.parametrize("pods", [[], [waiting("CrashLoopBackOff")]])
def test_the_newest_pod_being_ready_is_availability(pods):
    found = availability(workload_with(), pods, now=NOW)
    assert (found.is_done, found.reason) == (True, "Available")


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 2},
        {"readyReplicas": 0},
        {"readyReplicas": None},
        {"currentRevision": "a"},
    ],
    ids=lambda status: next(iter(status)),
)
def test_a_pod_that_is_not_the_newest_or_not_ready_is_not(status):
    found = availability(workload_with(**status), [], now=NOW)
    assert (found.is_done, found.reason) == (False, "WaitingForPod")


@pytest.mark.parametrize("status", [{}, None])
def test_a_workload_without_a_status_is_waited_for(status):
    found = availability({"metadata": {"name": "bees", "generation": 1}, "status": status}, [], now=NOW)
    assert (found.is_done, found.reason) == (False, "WaitingForPod")


TROUBLES = {
    "nothing": (pod_with(), "WaitingForPod", "not ready yet"),
    "no status": ({"metadata": {"name": "bees-0"}}, "WaitingForPod", "not ready yet"),
    "creating": (waiting("ContainerCreating"), "WaitingForPod", "not ready yet"),
    "initialising": (waiting("PodInitializing"), "WaitingForPod", "not ready yet"),
    "running": (pod_with(containerStatuses=[{"state": {"running": {}}}]), "WaitingForPod", "not ready yet"),
    "null": (pod_with(containerStatuses=None, conditions=None), "WaitingForPod", "not ready yet"),
    "image": (waiting("ImagePullBackOff", "no such tag"), "ImagePullBackOff", "pod bees-0: no such tag"),
    "crash": (waiting("CrashLoopBackOff"), "CrashLoopBackOff", "pod bees-0: CrashLoopBackOff"),
    "just unscheduled": (unscheduled(14), "WaitingForPod", "not ready yet"),
    "unscheduled": (unscheduled(16, reason="Unschedulable"), "Unschedulable", "pod bees-0: 0/1 nodes"),
    "without a reason": (unscheduled(16), "Unschedulable", "pod bees-0: 0/1 nodes"),
    "gated": (unscheduled(16, reason="SchedulingGated"), "SchedulingGated", "pod bees-0: 0/1 nodes"),
    "scheduled": (unscheduled(16, status="True"), "WaitingForPod", "not ready yet"),
}


@pytest.mark.parametrize(("pod", "reason", "message"), TROUBLES.values(), ids=TROUBLES)
def test_what_keeps_a_pod_from_running_is_told_as_kubernetes_names_it(pod, reason, message):
    found = availability(workload_with(readyReplicas=0), [pod], now=NOW)
    assert (found.is_done, found.reason) == (False, reason)
    assert message in found.message


def test_the_patience_with_the_scheduler_is_longer_than_making_a_volume_takes():
    assert module._SCHEDULING_GRACE >= 10
