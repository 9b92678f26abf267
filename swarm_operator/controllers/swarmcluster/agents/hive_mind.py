"""Environment of agents for the hive mind of their swarm. They use it with their own tokens, as the memory."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.controllers.swarmcluster.hive_mind import hive_mind
from swarm_operator.controllers.swarmmemorystore import network


def environment(cluster: SwarmCluster, *, token_file: str, secure: bool) -> dict[str, str]:
    """Return the variables of an agent's pod by which it finds the hive mind; none without a hive mind.

    Args:
        cluster: the swarm.
        token_file: file with the agent's own token.
        secure: whether the hive mind serves TLS. It has the memory's `tls`, so it does when the memory does.
    """
    if not cluster.spec.hive_mind.enabled:
        return {}
    store = SwarmMemoryStore.model_validate(hive_mind(cluster))
    return {
        "SWARM_HIVE_MIND_URL": network.endpoints(store, secure=secure)["http"],
        "SWARM_HIVE_MIND_TOKEN_FILE": token_file,
    }
