"""The HorizontalPodAutoscaler of a swarm's agents. It writes spec.agents; the operator never does."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from swarm_operator.api.duration import parse_duration
from swarm_operator.api.quantity import canonical_amount
from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.agents import Autoscaling as Settings
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done
from swarm_operator.runtime.resource import Object

_DEFAULT_UTILIZATION: Final = 80
_AMOUNTS: Final = frozenset({"value", "averageValue"})
"""Fields of a metric's target that hold a quantity."""


class Autoscaling(Step[SwarmCluster]):
    """Ensure the HorizontalPodAutoscaler, or that there is none."""

    owns: ClassVar = (kinds.HORIZONTAL_POD_AUTOSCALER,)

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        spec = r.parsed.spec
        if spec.agent_template is None or spec.autoscaling is None or not spec.autoscaling.enabled:
            await children.prune(r, kinds.HORIZONTAL_POD_AUTOSCALER, ())
        else:
            await children.ensure(r, kinds.HORIZONTAL_POD_AUTOSCALER, autoscaler(r.parsed, spec.autoscaling))
        return done()


def autoscaler(cluster: SwarmCluster, settings: Settings) -> Object:
    """Return the HorizontalPodAutoscaler, with quantities in the API server's canonical form."""
    spec = cluster.spec
    return {
        "metadata": {"name": cluster.agents_name, "labels": labels.of_agents(cluster)},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": kinds.SWARM_CLUSTER.api_version,
                "kind": kinds.SWARM_CLUSTER.kind,
                "name": cluster.metadata.name,
            },
            # Zero is behind a feature gate, and switches an autoscaler off.
            "minReplicas": settings.min_agents or max(1, spec.min_agents),
            "maxReplicas": settings.max_agents or spec.max_agents,
            "metrics": _metrics(settings),
            "behavior": {
                "scaleDown": {"stabilizationWindowSeconds": round(parse_duration(settings.stabilization_window))}
            },
        },
    }


def _metrics(settings: Settings) -> list[Object]:
    utilization = settings.target_utilization
    if utilization is None and not settings.metrics:
        utilization = _DEFAULT_UTILIZATION
    target = {"type": "Utilization", "averageUtilization": utilization}
    cpu = [] if utilization is None else [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    return [*cpu, *(_canonical(metric) for metric in settings.metrics)]


def _canonical(value: Any, name: str = "") -> Any:
    """Return a metric with its quantities in canonical form. The API server refuses values that are no quantities."""
    if isinstance(value, dict):
        return {key: _canonical(part, key) for key, part in value.items()}
    if name not in _AMOUNTS:
        return value
    try:
        return canonical_amount(value)
    except ValueError:
        return value
