import pytest

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmcluster.agents.statefulset import uses_own_tokens
from swarm_operator.runtime.errors import ForbiddenError, InvalidError
from swarm_operator.runtime.resource import Key, owner_reference

SET = kinds.STATEFUL_SET


def named(client, resource):
    return [key.name for kind, key in client.objects if kind == resource]


async def test_without_a_template_there_are_no_agents_and_no_condition(run, cluster_object, client, workload):
    status = await run(cluster_object())
    assert workload() is None
    assert "AgentsReady" not in status["conditions"]
    assert status["conditions"]["Ready"][:2] == ("True", "Disabled")
    assert not {"readyAgents", "totalAgents", "agentSelector", "lastScaleTime"} & status.keys()
    assert [verb for verb, *_ in client.requests] == ["apply status"]


async def test_agents_wait_for_the_memory_and_then_no_longer(
    run, agents_object, memory_serves, workload, agents_are, seen, cache
):
    status = await run(agents_object(agents=2))
    assert status["conditions"]["AgentsReady"][:2] == ("False", "WaitingForMemory")
    assert status["conditions"]["Ready"][:2] == ("False", "WaitingForStore"), "the first cause is told"
    assert workload() is None
    await memory_serves(agents_object(agents=2))
    await run()
    agents_are(2)
    store = cache.get(kinds.SWARM_MEMORY_STORE, Key("ns", "hive-memory"))
    away = {"type": "Ready", "status": "False", "reason": "CrashLooping", "message": "it ends"}
    seen(kinds.SWARM_MEMORY_STORE, store | {"status": store["status"] | {"conditions": [away], "phase": "Error"}})
    status = await run(agents_object(agents=3, generation=2))
    assert workload()["spec"]["replicas"] == 3
    assert status["conditions"]["Ready"][:2] == ("False", "CrashLooping")
    assert status["conditions"]["AgentsReady"][:2] == ("False", "WaitingForAgents")


async def test_agents_without_a_memory_are_not_made(run, agents_object, workload):
    obj = agents_object()
    obj["spec"]["memory"] = {}
    status = await run(obj)
    assert status["conditions"]["AgentsReady"][:2] == ("False", "NoMemory")
    assert "enableMemoryStore" in status["conditions"]["Ready"][2]
    assert workload() is None


async def test_everything_of_the_agents_is_the_cluster_s(run, memory_serves, client, agents_object):
    await memory_serves()
    await run()
    for kind in (SET, kinds.SERVICE, kinds.CONFIG_MAP, kinds.SERVICE_ACCOUNT):
        obj = client.objects[kind, Key("ns", "hive-agent")]
        assert obj["metadata"]["ownerReferences"] == [owner_reference(agents_object())], kind
    made = [kind for verb, kind, name in client.requests if name == "hive-agent" and verb in {"create", "apply"}]
    assert made[-1] == "StatefulSet", "a pod needs all others when it starts"


async def test_the_status_says_how_many_there_are(run, memory_serves, agents_are, agents_object, clock):
    await memory_serves(agents_object(agents=3))
    await run()
    agents_are(2, total=4)
    status = await run()
    assert (status["readyAgents"], status["totalAgents"]) == (2, 4)
    assert status["agentSelector"] == "app.kubernetes.io/name=swarm-agent,app.kubernetes.io/instance=hive"
    assert status["conditions"]["Ready"] == ("False", "WaitingForAgents", "agents: 2 of 3 agents are ready")
    assert status["phase"] == "Initializing"
    agents_are(3)
    status = await run()
    assert status["conditions"]["Ready"] == ("True", "Available", "agents: 3 agents are ready")
    assert status["conditions"]["AgentsReady"] == ("True", "Available", "3 agents are ready")
    assert status["phase"] == "Ready"


async def test_scaling_changes_the_number_the_peers_and_the_time_and_no_pod(
    run, memory_serves, agents_are, agents_object, clock, workload, cache
):
    await memory_serves(agents_object(agents=3))
    first = (await run())["lastScaleTime"]
    agents_are(3)
    clock.advance(60)
    assert (await run())["lastScaleTime"] == first
    template = workload()["spec"]["template"]
    clock.advance(60)
    status = await run(agents_object(agents=5, generation=2))
    assert workload()["spec"] == {**workload()["spec"], "replicas": 5, "template": template}
    assert status["lastScaleTime"] == workload()["metadata"]["annotations"][labels.SCALED_AT] > first
    peers = cache.get(kinds.CONFIG_MAP, Key("ns", "hive-agent"))["data"]["hive-agent-4.peers"]
    assert peers == "hive-agent-0,hive-agent-1,hive-agent-2,hive-agent-3\n"


async def test_when_all_is_as_wanted_nothing_is_written(run, memory_serves, agents_are, agents_object, client):
    env = [{"name": "EMPTY", "value": ""}, {"name": "A", "value": "b"}]
    obj = agents_object({"env": env}, agents=3, autoscaling={"enabled": True, "maxAgents": 9})
    await memory_serves(obj)
    await run()
    agents_are(3)
    await run()
    client.requests.clear()
    for _ in range(20):
        await run()
    assert client.requests == []


@pytest.mark.parametrize(
    ("spec", "replicas", "said"),
    [
        ({"agents": 20, "maxAgents": 9}, 9, "spec.agents is 20, and maxAgents counts"),
        ({"agents": 0, "minAgents": 2}, 2, "spec.agents is 0, and minAgents counts"),
        ({"agents": 2, "minAgents": 2, "maxAgents": 2}, 2, ""),
    ],
)
async def test_a_number_outside_its_bounds_is_bounded_and_said(
    run, memory_serves, agents_are, agents_object, workload, spec, replicas, said
):
    await memory_serves(agents_object(**spec))
    await run()
    assert workload()["spec"]["replicas"] == replicas
    agents_are(replicas)
    message = (await run())["conditions"]["AgentsReady"][2]
    assert said in message
    assert ("spec.agents" in message) == bool(said)


async def test_taking_the_template_away_ends_the_agents(run, memory_serves, client, cluster_object, agents_object):
    await memory_serves(agents_object(autoscaling={"enabled": True, "maxAgents": 3}))
    await run()
    for kind in (SET, kinds.CONFIG_MAP, kinds.HORIZONTAL_POD_AUTOSCALER):
        assert "hive-agent" in named(client, kind)
    status = await run(cluster_object(enableMemoryStore=True))
    for kind in (SET, kinds.SERVICE, kinds.CONFIG_MAP, kinds.SERVICE_ACCOUNT, kinds.HORIZONTAL_POD_AUTOSCALER):
        assert named(client, kind) == [], kind
    assert "AgentsReady" not in status["conditions"]
    assert "readyAgents" not in status


QUOTA = "create Pod hive-agent-1 in StatefulSet hive-agent failed error: pods is forbidden: exceeded quota: small"


@pytest.mark.parametrize(("note", "reason"), [(QUOTA, "QuotaExceeded"), ("denied by a webhook", "FailedCreate")])
async def test_a_pod_that_is_refused_is_told(run, memory_serves, agents_are, clock, tell, agents_object, note, reason):
    await memory_serves(agents_object(agents=3))
    await run()
    agents_are(1, total=1)
    await run()
    tell(SET, "hive-agent", "statefulset-controller", "FailedCreate", note)
    clock.advance(6)
    status = await run()
    assert status["conditions"]["AgentsReady"] == ("False", reason, f"{note}; 1 of 3 agents are ready")
    assert status["result"].requeue_after > 0, "events are not watched"


async def test_an_agent_s_problem_is_told_and_its_pod_causes_a_pass(
    run, memory_serves, agents_are, seen, agents_object
):
    await memory_serves(agents_object(agents=1))
    await run()
    agents_are(0, total=1)
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "not found"}}
    metadata = {"name": "hive-agent-0", "namespace": "ns", "labels": {labels.AGENTS: "hive"}}
    seen(kinds.POD, {"metadata": metadata, "status": {"containerStatuses": [{"state": waiting}]}})
    status = await run()
    assert status["conditions"]["Ready"][:2] == ("False", "ErrImagePull")
    assert status["conditions"]["MemoryReady"][:2] == ("True", "Available")


async def test_a_workload_of_somebody_else_is_never_taken_over(run, memory_serves, seen, workload):
    seen(SET, {"metadata": {"name": "hive-agent", "namespace": "ns", "uid": "theirs"}, "spec": {}})
    await memory_serves()
    status = await run()
    assert status["conditions"]["AgentsReady"][:2] == ("False", "NameTaken")
    assert workload()["metadata"]["uid"] == "theirs"


async def test_what_the_server_refuses_is_in_both_conditions_and_the_autoscaler_is_made(
    reconciler, run, memory_serves, client, agents_object
):
    await memory_serves(agents_object(autoscaling={"enabled": True, "maxAgents": 3}))
    client.refusals["apply", "StatefulSet"] = ForbiddenError("no", status=403)
    with pytest.raises(ForbiddenError):
        await run()
    obj = client.objects[kinds.SWARM_CLUSTER, Key("ns", "hive")]
    found = {c["type"]: c["reason"] for c in obj["status"]["conditions"]}
    assert (found["AgentsReady"], found["Ready"], found["MemoryReady"]) == ("Forbidden", "Forbidden", "Available")
    assert named(client, kinds.HORIZONTAL_POD_AUTOSCALER) == ["hive-agent"]


async def test_an_autoscaler_that_is_refused_leaves_the_agents_alone(
    run, memory_serves, client, agents_object, agents_are, workload
):
    await memory_serves(agents_object(agents=3))
    await run()
    agents_are(3)
    client.refusals["apply", "HorizontalPodAutoscaler"] = InvalidError("spec.metrics[0].type", status=422)
    scaling = {"enabled": True, "maxAgents": 9, "metrics": [{"type": "Wrong"}]}
    with pytest.raises(InvalidError):
        await run(agents_object(agents=3, autoscaling=scaling, generation=2))
    obj = client.objects[kinds.SWARM_CLUSTER, Key("ns", "hive")]
    found = {c["type"]: (c["status"], c["reason"]) for c in obj["status"]["conditions"]}
    assert (found["AgentsReady"], found["Ready"]) == (("True", "Available"), ("False", "Refused"))


async def test_a_pod_template_that_is_refused_changes_no_agent(run, memory_serves, agents_are, agents_object, workload):
    await memory_serves(agents_object({"podTemplate": {"spec": {"priorityClassName": "high"}}}))
    await run()
    agents_are(1)
    before = workload()
    assert before["spec"]["template"]["spec"]["priorityClassName"] == "high"
    assert (await run())["readyAgents"] == 1
    status = await run(agents_object({"podTemplate": {"spec": {"hostNetwork": True}}}, generation=2))
    assert status["conditions"]["AgentsReady"][:2] == ("False", "PodTemplateRefused")
    assert "spec.agentTemplate.podTemplate.spec.hostNetwork" in status["conditions"]["Ready"][2]
    assert workload() == before
    assert status["readyAgents"] == 1


async def test_agents_use_the_swarm_s_memory_and_not_the_hive_mind_s(
    run, memory_serves, agents_object, workload, seen, cache
):
    obj = agents_object()
    obj["spec"]["hiveMind"] = {"enabled": True}
    await memory_serves(obj)
    assert cache.get(kinds.SWARM_MEMORY_STORE, Key("ns", "hive-hivemind")) is not None
    await run()
    (container,) = workload()["spec"]["template"]["spec"]["containers"]
    assert {"name": "SWARM_MEMORY_URL", "value": "http://hive-memory.ns.svc:8080"} in container["env"]


async def test_agents_use_tokens_of_their_own_if_the_memory_can_verify_them(
    run, memory_serves, workload, seen, cache, agents_object
):
    store_key = Key("ns", "hive-memory")

    def say(identity, *, ready="True"):
        store = cache.get(kinds.SWARM_MEMORY_STORE, store_key)
        since = {"reason": "R", "message": "", "lastTransitionTime": "2026-11-26T00:00:00Z"}
        found = (("Ready", ready), ("IdentityReady", identity))
        conditions = [{"type": type_, "status": status, **since} for type_, status in found]
        seen(kinds.SWARM_MEMORY_STORE, store | {"status": store["status"] | {"conditions": conditions}})

    await memory_serves()
    say("False")
    await run()
    assert not uses_own_tokens(workload()), "all would be refused"
    say("True", ready="False")
    await run()
    assert not uses_own_tokens(workload()), "the memory is being replaced"
    say("True")
    await run()
    assert uses_own_tokens(workload())
    say("False", ready="False")
    await run()
    assert uses_own_tokens(workload())
    say("Unknown")
    await run()
    assert uses_own_tokens(workload()), "the operator has just been started, and has not asked yet"
    say("False")
    await run()
    assert not uses_own_tokens(workload())
    say("Unknown")
    await run()
    assert not uses_own_tokens(workload())


async def test_agents_have_access_to_the_memory_and_the_hive_mind(run, agents_object, client, cluster_object):
    await run(agents_object(hiveMind={"enabled": True}))
    own = [{"serviceAccount": {"name": "hive-agent", "namespace": "ns"}, "access": "write"}]
    for name in ("hive-memory", "hive-hivemind"):
        assert client.objects[kinds.SWARM_MEMORY_STORE, Key("ns", name)]["spec"]["access"] == own


@pytest.mark.parametrize("namespace", [{}, {"namespace": "ns"}])
async def test_a_rule_for_the_agents_is_in_the_place_of_theirs(run, agents_object, client, namespace):
    rules = [
        {"serviceAccount": {"name": "hive-agent", **namespace}, "access": "read", "memoryNamespaces": ["a"]},
        {"serviceAccount": {"name": "hive-agent", "namespace": "elsewhere"}, "access": "read"},
    ]
    obj = agents_object()
    obj["spec"]["memory"]["access"] = rules
    await run(obj)
    assert client.objects[kinds.SWARM_MEMORY_STORE, Key("ns", "hive-memory")]["spec"]["access"] == rules
    obj["spec"]["memory"]["access"] = rules[1:]
    obj["metadata"]["generation"] = 2
    await run(obj)
    found = client.objects[kinds.SWARM_MEMORY_STORE, Key("ns", "hive-memory")]["spec"]["access"]
    assert found == [*rules[1:], {"serviceAccount": {"name": "hive-agent", "namespace": "ns"}, "access": "write"}]


async def test_without_agents_nobody_has_access(run, cluster_object, client):
    await run(cluster_object(enableMemoryStore=True))
    assert "access" not in client.objects[kinds.SWARM_MEMORY_STORE, Key("ns", "hive-memory")]["spec"]
