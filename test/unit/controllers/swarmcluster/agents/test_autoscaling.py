import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster.agents.autoscaling import autoscaler
from swarm_operator.runtime.resource import Key

HPA = kinds.HORIZONTAL_POD_AUTOSCALER


@pytest.fixture
def made(swarm):
    def make(**spec):
        spec["autoscaling"] = {"enabled": True, **spec.get("autoscaling", {})}
        cluster = swarm(**{"maxAgents": 9} | spec)
        return autoscaler(cluster, cluster.spec.autoscaling)["spec"]

    return make


def cpu(percent):
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def test_it_scales_the_swarm_and_not_its_stateful_set(made):
    wanted = {"apiVersion": "swarm.claudeflow.io/v1alpha1", "kind": "SwarmCluster", "name": "hive"}
    assert made()["scaleTargetRef"] == wanted


@pytest.mark.parametrize(
    ("spec", "bounds"),
    [
        ({}, (1, 9)),
        ({"minAgents": 3}, (3, 9)),
        ({"minAgents": 3, "autoscaling": {"minAgents": 4, "maxAgents": 6}}, (4, 6)),
        ({"maxAgents": None, "autoscaling": {"maxAgents": 7}}, (1, 7)),
    ],
)
def test_its_bounds_are_those_of_the_swarm_unless_it_has_its_own(made, spec, bounds):
    found = made(**spec)
    assert (found["minReplicas"], found["maxReplicas"]) == bounds


PODS = {"type": "Pods", "pods": {"metric": {"name": "x"}, "target": {"type": "AverageValue", "averageValue": "0.5"}}}
CANONICAL = {
    "type": "Pods",
    "pods": {"metric": {"name": "x"}, "target": {"type": "AverageValue", "averageValue": "500m"}},
}


@pytest.mark.parametrize(
    ("settings", "metrics"),
    [
        ({}, [cpu(80)]),
        ({"targetUtilization": 55}, [cpu(55)]),
        ({"metrics": [PODS]}, [CANONICAL]),
        ({"targetUtilization": 55, "metrics": [PODS]}, [cpu(55), CANONICAL]),
        ({"metrics": [{"type": "X", "target": {"value": "many"}}]}, [{"type": "X", "target": {"value": "many"}}]),
    ],
)
def test_metrics_are_passed_on_in_canonical_form(made, settings, metrics):
    assert made(autoscaling=settings)["metrics"] == metrics


@pytest.mark.parametrize(("settings", "seconds"), [({}, 300), ({"stabilizationWindow": "1m30s"}, 90)])
def test_fewer_agents_must_have_been_enough_for_a_while(made, settings, seconds):
    assert made(autoscaling=settings)["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": seconds}}


async def test_it_goes_when_it_is_switched_off(run, memory_serves, agents_object, cache, client):
    on, off = ({"enabled": enabled, "maxAgents": 9} for enabled in (True, False))
    await memory_serves(agents_object(autoscaling=on))
    assert cache.get(HPA, Key("ns", "hive-agent")) is not None
    await run(agents_object(autoscaling=off, generation=2))
    assert not [key for kind, key in client.objects if kind == HPA]


async def test_what_it_writes_is_what_counts(run, memory_serves, agents_object, workload, client):
    scaling = {"enabled": True, "maxAgents": 9}
    await memory_serves(agents_object(autoscaling=scaling))
    await run()
    await run(agents_object(agents=6, autoscaling=scaling, generation=2))
    assert workload()["spec"]["replicas"] == 6
    assert [verb for verb, kind, _ in client.writes() if kind == "SwarmCluster"].count("apply status") >= 1
    assert {verb for verb, kind, _ in client.writes() if kind == "SwarmCluster"} == {"apply status"}
