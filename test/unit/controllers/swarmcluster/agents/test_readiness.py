from datetime import UTC, datetime, timedelta

import pytest

from swarm_operator.controllers.swarmcluster.agents.readiness import readiness

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def workload(ready, **status):
    newest = {"observedGeneration": 3, "readyReplicas": ready, "currentRevision": "b", "updateRevision": "b"}
    return {"metadata": {"name": "hive-agent", "generation": 3}, "status": newest | status}


def pod(number=1, *, metadata=None, **status):
    found = {"name": f"hive-agent-{number}"} | (metadata or {})
    return {"metadata": found, "spec": {"nodeName": "node-7"}, "status": status}


def at(seconds):
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def unpullable(number=1):
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}
    return pod(number, containerStatuses=[{"state": state}])


def looping(number=1, *, running=5):
    end = {"reason": "Error", "exitCode": 1, "finishedAt": at(-running - 1), "message": "no key"}
    state = {"running": {"startedAt": at(-running)}}
    return pod(
        number, containerStatuses=[{"state": state, "lastState": {"terminated": end}, "restartCount": 3, "ready": True}]
    )


def judge(live, pods=(), count=3):
    return readiness(live, list(pods), count, now=NOW)


@pytest.mark.parametrize("ready", [3, 5])
def test_agents_are_ready_when_enough_are_and_others_may_still_be_ending(ready):
    found = judge(workload(ready))
    assert (found.is_done, found.reason, found.message) == (True, "Available", "3 agents are ready")


def test_no_agents_are_ready_at_once():
    found = judge(workload(None), count=0)
    assert (found.is_done, found.message) == (True, "no agents are asked for")


@pytest.mark.parametrize(
    "status", [{"readyReplicas": 2}, {"observedGeneration": 2}, {"currentRevision": "a"}], ids=lambda status: [*status]
)
def test_agents_are_waited_for_until_the_newest_are_ready(status):
    found = judge(workload(3, **status))
    assert (found.phase, found.reason) == ("Initializing", "WaitingForAgents")
    assert found.requeue_after > 0, "some problems count when they have lasted, and nothing else says so"


def test_a_set_without_a_status_is_waited_for():
    live = {"metadata": {"name": "hive-agent", "generation": 1}}
    assert judge(live).message == "0 of 3 agents are ready"


def test_what_keeps_one_agent_from_running_is_told_with_how_many_are_ready():
    found = judge(workload(2), [pod(0), unpullable()])
    assert (found.phase, found.reason) == ("Error", "ImagePullBackOff")
    assert found.message == "pod hive-agent-1: no such tag; 2 of 3 agents are ready"


def test_an_agent_that_crashes_again_and_again_counts_also_while_it_runs():
    found = judge(workload(3), [pod(0), looping()])
    assert (found.phase, found.reason, found.requeue_after) == ("Error", "CrashLooping", 55)
    assert "pod hive-agent-1: the agent ends again and again" in found.message
    assert "no key" in found.message
    assert judge(workload(3), [pod(0), looping(running=61)]).is_done


def test_an_agent_whose_node_does_not_say_that_it_ended_is_lost():
    def ending(seconds):
        return pod(metadata={"deletionTimestamp": at(seconds)})

    assert judge(workload(2), [ending(5)]).reason == "WaitingForAgents"
    assert judge(workload(2), [ending(-29)]).reason == "WaitingForAgents"
    found = judge(workload(2), [ending(-30)])
    assert (found.phase, found.reason) == ("Error", "NodeGone")
    assert "node-7" in found.message
    assert judge(workload(3), [ending(-30)]).is_done, "its successor is there"
