"""The ConfigMap that the agents mount: the peers of each agent, and the configurations of MCP clients and of git.

The number of agents is in no agent's pod template, or each change of it would replace all pods. So an agent's peers are
a file of this ConfigMap, named after the agent, which the kubelet renews in running pods within about a minute.
"""

from __future__ import annotations

import json
from typing import Final

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.common import labels
from swarm_operator.controllers.swarmcluster.agents.topology import peers
from swarm_operator.controllers.swarmcluster.github import mount
from swarm_operator.runtime.resource import Object

MCP_FILE: Final = "mcp.json"
TOKEN_VARIABLE: Final = "SWARM_MEMORY_TOKEN"  # noqa: S105 - a name
"""Environment variable from which an MCP client takes the memory's token: the one of the agent's start."""


def peers_file(agent: str) -> str:
    """Return the name of the file with an agent's peers, a comma between two of them."""
    return f"{agent}.peers"


def config_map(cluster: SwarmCluster, *, namespace: str, mcp_url: str | None) -> Object:
    """Return the ConfigMap. It has no token.

    Args:
        cluster: the swarm.
        namespace: where its agents run.
        mcp_url: where its memory speaks MCP, or None.
    """
    names = agent_names(cluster)
    files = {
        peers_file(agent): ",".join(others) + "\n" for agent, others in peers(cluster.spec.topology, names).items()
    }
    if mcp_url:
        files[MCP_FILE] = json.dumps({"mcpServers": {"swarm-memory": _mcp_server(mcp_url)}}, indent=2) + "\n"
    return {
        "metadata": {"name": cluster.agents_name, "namespace": namespace, "labels": labels.of_agents(cluster)},
        "data": {**files, **mount.files(cluster)},
    }


def agent_names(cluster: SwarmCluster) -> list[str]:
    """Return the names of the agents: those that the StatefulSet controller gives to its pods."""
    return [f"{cluster.agents_name}-{number}" for number in range(cluster.agents)]


def _mcp_server(url: str) -> Object:
    """Return the entry of the memory. A host that knows `headersHelper` reads the token again for each connection."""
    header = '{"Authorization": "Bearer %s"}'
    return {
        "type": "http",
        "url": url,
        "headers": {"Authorization": f"Bearer ${{{TOKEN_VARIABLE}}}"},
        "headersHelper": f'printf \'{header}\' "$(cat "$SWARM_MEMORY_TOKEN_FILE")"',
    }
