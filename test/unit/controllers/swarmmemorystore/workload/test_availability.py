from datetime import UTC, datetime, timedelta

import pytest

from swarm_operator.controllers.common import pods as module
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


def at(seconds):
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def crashed(restarts, state, *, ended=5, running=4, reason="OOMKilled", message=""):
    """A pod whose container has ended before; `state` is what it is in now."""
    end = {"reason": reason, "exitCode": 137, "finishedAt": at(ended), "message": message}
    states = {
        "waiting": {"waiting": {"reason": "CrashLoopBackOff", "message": f"back-off {restarts * 10}s"}},
        "running": {"running": {"startedAt": at(running)}},
        "terminated": {"terminated": end},
    }
    last = {"terminated": end} if state != "terminated" else {}
    return pod_with(containerStatuses=[{"state": states[state], "lastState": last, "restartCount": restarts}])


@pytest.mark.parametrize("ready", [0, 1])
def test_a_crash_loop_is_told_once_for_all_crashes(ready):
    """Eight crashes, each seen as ended, waiting and running: one outcome, so one write and one event."""
    found = {
        (outcome.reason, outcome.message)
        for restarts in range(2, 10)
        for state in ("terminated", "waiting", "running")
        for outcome in [availability(workload_with(readyReplicas=ready), [crashed(restarts, state)], now=NOW)]
    }
    ((reason, message),) = found
    assert reason == "CrashLooping"
    assert "OOMKilled, exit code 137" in message


def test_the_last_line_of_a_service_that_cannot_start_is_told():
    pod = crashed(
        3, "waiting", reason="Error", message='{"event": "starting"}\n{"reason": "tokens.json: at most 100"}\n'
    )
    message = availability(workload_with(readyReplicas=0), [pod], now=NOW).message
    assert message.endswith('exit code 137: {"reason": "tokens.json: at most 100"}')


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (crashed(9, "running", running=59), "CrashLooping"),
        (crashed(9, "running", running=61), "Available"),
        (crashed(9, "running", ended=601), "Available"),
        (crashed(1, "running"), "Available"),
    ],
    ids=["too early", "stable", "long ago", "once"],
)
def test_a_pod_that_runs_for_a_while_is_available_again(pod, reason):
    found = availability(workload_with(), [pod], now=NOW)
    assert found.reason == reason
    assert found.requeue_after == (1 if reason == "CrashLooping" else 0), "nothing else says that it is stable"


PROBLEMS = {
    "nothing": (pod_with(), "WaitingForPod", "not ready yet"),
    "no status": ({"metadata": {"name": "bees-0"}}, "WaitingForPod", "not ready yet"),
    "creating": (waiting("ContainerCreating"), "WaitingForPod", "not ready yet"),
    "initialising": (waiting("PodInitializing"), "WaitingForPod", "not ready yet"),
    "running": (pod_with(containerStatuses=[{"state": {"running": {}}}]), "WaitingForPod", "not ready yet"),
    "null": (pod_with(containerStatuses=None, conditions=None), "WaitingForPod", "not ready yet"),
    "image": (waiting("ImagePullBackOff", "no such tag"), "ImagePullBackOff", "pod bees-0: no such tag"),
    "crash": (waiting("CrashLoopBackOff"), "CrashLoopBackOff", "pod bees-0: CrashLoopBackOff"),
    "one crash": (crashed(1, "terminated"), "WaitingForPod", "not ready yet"),
    "just unscheduled": (unscheduled(14), "WaitingForPod", "not ready yet"),
    "unscheduled": (unscheduled(16, reason="Unschedulable"), "Unschedulable", "pod bees-0: 0/1 nodes"),
    "without a reason": (unscheduled(16), "Unschedulable", "pod bees-0: 0/1 nodes"),
    "gated": (unscheduled(16, reason="SchedulingGated"), "SchedulingGated", "pod bees-0: 0/1 nodes"),
    "scheduled": (unscheduled(16, status="True"), "WaitingForPod", "not ready yet"),
}


@pytest.mark.parametrize(("pod", "reason", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_keeps_a_pod_from_running_is_told_as_kubernetes_names_it(pod, reason, message):
    found = availability(workload_with(readyReplicas=0), [pod], now=NOW)
    assert (found.is_done, found.reason) == (False, reason)
    assert message in found.message


def test_the_patience_with_the_scheduler_is_longer_than_making_a_volume_takes():
    assert module._SCHEDULING_GRACE >= 10
