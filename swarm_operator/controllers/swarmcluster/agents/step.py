"""Step that runs the agents of a swarm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.errors import NameTakenError, explain
from swarm_operator.controllers.common.pod_creation import PodCreation
from swarm_operator.controllers.common.pod_template import PodTemplateError
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, failed, waiting
from swarm_operator.controllers.swarmcluster.agents import config, network_policy, statefulset
from swarm_operator.controllers.swarmcluster.agents.readiness import readiness, ready_agents, total_agents
from swarm_operator.controllers.swarmcluster.memory_store import MemoryStore, kept_store
from swarm_operator.controllers.swarmcluster.placement import swarm_namespace
from swarm_operator.controllers.swarmmemorystore import network
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.errors import ApiError
from swarm_operator.runtime.resource import Key, Object, key_of

CONDITION: Final = "AgentsReady"
"""Type of a condition of swarms that have an agentTemplate."""
_FIELDS: Final = ("readyAgents", "totalAgents", "agentSelector", "lastScaleTime")


@dataclass(frozen=True, slots=True)
class Agents(Step[SwarmCluster]):
    """Ensure the agents' StatefulSet and what their pods mount, and report their state.

    They are made when the swarm's memory serves. From then on they stay, whatever becomes of the memory: an agent waits
    for it.
    """

    condition: ClassVar = "Ready"
    needs: ClassVar = (MemoryStore,)
    owns: ClassVar = (kinds.STATEFUL_SET, kinds.SERVICE, kinds.CONFIG_MAP, kinds.SERVICE_ACCOUNT, kinds.NETWORK_POLICY)

    image: str
    """The memory service's image, for agents whose template names none."""
    pull_secrets: tuple[str, ...] = ()
    """Names of the Secrets with which that image is pulled, in the agents' namespace."""
    creation: PodCreation = field(
        default_factory=lambda: PodCreation(kinds.STATEFUL_SET, "statefulset-controller", condition=CONDITION)
    )

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        if r.parsed.spec.agent_template is None:
            r.conditions.remove(CONDITION)
            for kind in self.owns:
                await children.prune(r, kind, ())
            return r.outcomes[MemoryStore]
        r.status |= {name: (r.obj.get("status") or {}).get(name) for name in _FIELDS}
        try:
            outcome = await self._agents(r)
        except (ApiError, NameTakenError) as error:
            r.set_condition(CONDITION, failed(*explain(error)))
            raise
        r.set_condition(CONDITION, outcome)
        return replace(outcome, message=f"agents: {outcome.message}")

    async def _agents(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        live = _workload(r)
        store = kept_store(r, swarm_namespace(r.parsed), r.parsed.store_name)
        if store is None:
            return failed("NoMemory", "agents need a memory: set spec.memory.enableMemoryStore to true")
        if live is None and not r.outcomes[MemoryStore].is_done:
            return waiting("WaitingForMemory", "the agents are made when the swarm's memory is ready")
        try:
            live = await self._ensure(r, SwarmMemoryStore.model_validate(store), live)
        except PodTemplateError as error:
            return failed("PodTemplateRefused", str(error))
        r.status["readyAgents"], r.status["totalAgents"] = ready_agents(live), total_agents(live)
        selector = labels.agents_selector(r.parsed)
        r.status["agentSelector"] = ",".join(f"{name}={value}" for name, value in selector.items())
        r.status["lastScaleTime"] = live["metadata"]["annotations"][labels.SCALED_AT]
        return _with_bounds(r.parsed, await self._outcome(r, live))

    async def _ensure(self, r: Reconciliation[SwarmCluster], store: SwarmMemoryStore, live: Object | None) -> Object:
        """Ensure what the pods need, then the StatefulSet."""
        cluster, template, namespace = r.parsed, r.parsed.spec.agent_template, store.metadata.namespace
        assert template is not None  # noqa: S101 - for mypy
        mcp_url = network.endpoints(store, secure=statefulset.serves_tls(store)).get("mcp")
        await children.ensure(r, kinds.SERVICE_ACCOUNT, statefulset.service_account(cluster, namespace=namespace))
        await children.ensure(r, kinds.SERVICE, statefulset.service(cluster, namespace=namespace))
        await children.ensure(r, kinds.NETWORK_POLICY, network_policy.network_policy(cluster, namespace=namespace))
        # Before the StatefulSet: a new agent reads its peers when it starts.
        await children.ensure(r, kinds.CONFIG_MAP, config.config_map(cluster, namespace=namespace, mcp_url=mcp_url))
        wanted = statefulset.stateful_set(
            cluster,
            template,
            store,
            image=self.image,
            scaled_at=_scaled_at(r, live),
            own_tokens=_have_own_tokens(r, store, live),
            pull_secrets=self.pull_secrets,
        )
        return await children.ensure(r, kinds.STATEFUL_SET, wanted)

    async def _outcome(self, r: Reconciliation[SwarmCluster], live: Object) -> Outcome:
        namespace, _ = key_of(live)
        found = [r.client.get(kinds.POD, Key(namespace, name)) for name in config.agent_names(r.parsed)]
        pods = [pod for pod in found if pod]
        outcome = readiness(live, pods, r.parsed.agents, now=r.clock.now())
        if outcome.reason != "WaitingForAgents" or len(pods) == len(found):
            return outcome
        refusal = await self.creation.refusal(r, live)
        if refusal is None:
            return outcome
        message = f"{refusal.message}; {outcome.message}"
        if "exceeded quota" in refusal.message:
            return failed("QuotaExceeded", message, requeue_after=outcome.requeue_after)
        return failed(refusal.reason, message, requeue_after=outcome.requeue_after)


def _workload(r: Reconciliation[SwarmCluster]) -> Object | None:
    """Return the agents' StatefulSet, or None."""
    found = children.owned(r, kinds.STATEFUL_SET)
    return next((live for live in found if live["metadata"]["name"] == r.parsed.agents_name), None)


def _have_own_tokens(r: Reconciliation[SwarmCluster], store: SwarmMemoryStore, live: Object | None) -> bool:
    """Return whether the agents use tokens of their own: the memory must be able to verify them.

    Running agents keep what they have while the memory is not ready, and while it is not known whether it can.
    """
    verifies = next((each.status for each in store.status.conditions if each.type == "IdentityReady"), "False")
    if live is not None and (verifies == "Unknown" or not r.outcomes[MemoryStore].is_done):
        return statefulset.uses_own_tokens(live)
    return verifies == "True"


def _scaled_at(r: Reconciliation[SwarmCluster], live: Object | None) -> str:
    """Return when the number of agents was last changed: now, if this pass changes it."""
    stored = ((live or {}).get("metadata", {}).get("annotations") or {}).get(labels.SCALED_AT)
    if live is None or stored is None or live["spec"].get("replicas") != r.parsed.agents:
        return rfc3339(r.clock.now())
    return str(stored)


def _with_bounds(cluster: SwarmCluster, outcome: Outcome) -> Outcome:
    """Return the outcome with a word on a number of agents that is outside its bounds."""
    if cluster.spec.agents == cluster.agents:
        return outcome
    bound = "minAgents" if cluster.spec.agents < cluster.agents else "maxAgents"
    return replace(outcome, message=f"{outcome.message}; spec.agents is {cluster.spec.agents}, and {bound} counts")
