"""No eviction ends the pod of a store that serves."""

from swarm_operator.controllers.swarmmemorystore.disruption_budget import disruption_budget
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set


def test_the_pod_is_not_evicted_while_it_serves(store):
    spec = disruption_budget(store())["spec"]
    pod = stateful_set(store(), image="i")["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= pod.items()
    assert (spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]) == (0, "AlwaysAllow")
    assert "minAvailable" not in spec, "a store that hibernates would lack a pod"
