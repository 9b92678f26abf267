"""The StatefulSet of a swarm's agents, and the Service that gives each agent a DNS name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from swarm_operator.api.duration import parse_duration
from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.api.v1alpha1.agents import AgentTemplate
from swarm_operator.controllers.common import labels
from swarm_operator.controllers.common.pod_template import customised, operators_part
from swarm_operator.controllers.swarmcluster.agents import config, hive_mind
from swarm_operator.controllers.swarmcluster.github import mount
from swarm_operator.controllers.swarmmemorystore import auth, network
from swarm_operator.controllers.swarmmemorystore.tls.names import CA_DIR, CA_FILE, CA_VOLUME, ca_volume
from swarm_operator.controllers.swarmmemorystore.workload.security import CONTAINER_SECURITY, POD_SECURITY
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_pull_secrets
from swarm_operator.runtime.resource import Object
from swarm_operator.shared.service_accounts import AUDIENCE
from swarm_operator.shared.tokens import CLIENT_FILE

SHUTDOWN_SECONDS: Final = 20
"""Seconds that a pod has beyond terminationGracePeriod: the reference agent stops its work, releases its task and
deregisters in them."""

_REFERENCE_AGENT: Final = "agent"
"""The command of the memory's image that works through tasks."""
_CONTAINER: Final = "agent"
_OPEN: Final = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "workingDir")
_PROTECTED: Final = operators_part(_CONTAINER) - {f"spec.containers[{_CONTAINER}].{name}" for name in _OPEN}
_AT: Final = "spec.agentTemplate.podTemplate"
_CONFIG_DIR: Final = "/etc/swarm"
_TOKEN_DIR: Final = "/etc/swarm-memory/tokens"  # noqa: S105 - a path
_NODE_VARIABLE: Final = "NODE_EXTRA_CA_CERTS"
TOKEN_VOLUME: Final = "token"  # noqa: S105 - a name
_POD_TOKEN: Final = "token"  # noqa: S105 - a name
"""File with the token of the agent's own service account."""
TOKEN_SECONDS: Final = 600
"""Lifetime of that token, the shortest that Kubernetes allows. The kubelet renews it when 80 % of it are over."""
_LAUNCH: Final = (
    'read -r SWARM_PEERS <"$SWARM_PEERS_FILE" && export SWARM_PEERS && {'
    f' [ -n "${config.TOKEN_VARIABLE}" ] || read -r {config.TOKEN_VARIABLE} <"$SWARM_MEMORY_TOKEN_FILE" ||'
    f' [ -n "${config.TOKEN_VARIABLE}" ]; }} && export {config.TOKEN_VARIABLE} && exec "$@"'
)
"""A template cannot give each pod another environment, so a shell reads the pod's own files. The token's file has no
end of line, with which `read` fails although it has read the token."""


def stateful_set(
    cluster: SwarmCluster,
    template: AgentTemplate,
    store: SwarmMemoryStore,
    *,
    image: str,
    scaled_at: str,
    own_tokens: bool,
    pull_secrets: Sequence[str] = (),
) -> Object:
    """Return the StatefulSet. Its template does not depend on the number of agents.

    Args:
        cluster: the swarm.
        template: how its agents run.
        store: the swarm's memory, in whose namespace they run.
        image: the memory service's image.
        scaled_at: when the number of agents was last changed.
        own_tokens: whether each agent has a token of its own service account, which the memory then must verify; else
            all have the client token.
        pull_secrets: names of Secrets in that namespace with which the memory service's image is pulled.

    Raises:
        PodTemplateError: the template's podTemplate sets what it must not.
    """
    pod = {
        "metadata": {
            "labels": _pod_labels(cluster, store.metadata.namespace),
            "annotations": {"kubectl.kubernetes.io/default-container": _CONTAINER},
        },
        "spec": _pod_spec(cluster, template, store, image, own_tokens=own_tokens) | image_pull_secrets(pull_secrets),
    }
    return {
        "metadata": {
            "name": cluster.agents_name,
            "namespace": store.metadata.namespace,
            "labels": labels.of_agents(cluster),
            "annotations": {labels.SCALED_AT: scaled_at},
        },
        "spec": {
            "replicas": cluster.agents,
            "serviceName": cluster.agents_name,
            # Agents do not wait for each other.
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels.agents_selector(cluster)},
            "template": customised(pod, template.pod_template, _PROTECTED, at=_AT) if template.pod_template else pod,
        },
    }


def _pod_labels(cluster: SwarmCluster, namespace: str) -> dict[str, str]:
    """Return the labels of an agent's pod, which lead to the cluster."""
    found = labels.of_agents(cluster)
    if namespace == cluster.metadata.namespace:
        return {**found, labels.AGENTS: cluster.metadata.name}
    return {**found, **labels.owner_elsewhere({"metadata": cluster.metadata.model_dump()})}


def service(cluster: SwarmCluster, *, namespace: str) -> Object:
    """Return the headless Service: PEER.NAME is the DNS name of a peer, also before that is ready."""
    return {
        "metadata": {"name": cluster.agents_name, "namespace": namespace, "labels": labels.of_agents(cluster)},
        "spec": {
            "clusterIP": "None",
            "ipFamilyPolicy": "PreferDualStack",
            "publishNotReadyAddresses": True,
            "selector": labels.agents_selector(cluster),
        },
    }


def service_account(cluster: SwarmCluster, *, namespace: str) -> Object:
    """Return the ServiceAccount, which has no rights."""
    return {
        "metadata": {"name": cluster.agents_name, "namespace": namespace, "labels": labels.of_agents(cluster)},
        "automountServiceAccountToken": False,
    }


def _pod_spec(
    cluster: SwarmCluster, template: AgentTemplate, store: SwarmMemoryStore, image: str, *, own_tokens: bool
) -> Object:
    grace = parse_duration(template.termination_grace_period)
    return {
        "serviceAccountName": cluster.agents_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(grace) + SHUTDOWN_SECONDS,
        "securityContext": POD_SECURITY,
        "containers": [
            {
                "name": _CONTAINER,
                "image": template.image or image,
                "imagePullPolicy": "IfNotPresent",
                # A condition then has the last line of an agent that cannot start.
                "terminationMessagePolicy": "FallbackToLogsOnError",
                **_program(template),
                "env": _environment(cluster, template, store, own_tokens=own_tokens),
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [
                    {"name": "swarm", "mountPath": _CONFIG_DIR, "readOnly": True},
                    {"name": TOKEN_VOLUME, "mountPath": _TOKEN_DIR, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod
                    *mount.mounts(cluster),
                    *([{"name": CA_VOLUME, "mountPath": CA_DIR, "readOnly": True}] if serves_tls(store) else []),
                ],
            }
        ],
        "volumes": [
            {"name": "swarm", "configMap": {"name": cluster.agents_name, "defaultMode": 0o444}},
            {"name": TOKEN_VOLUME, **(_POD_TOKEN_SOURCE if own_tokens else _client_token_source(store))},
            {"name": "tmp", "emptyDir": {}},
            *mount.volumes(cluster),
            *([ca_volume(store)] if serves_tls(store) else []),
        ],
    }


_POD_TOKEN_SOURCE: Final[Object] = {
    "projected": {
        "defaultMode": 0o440,
        "sources": [
            {
                "serviceAccountToken": {
                    "audience": AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": _POD_TOKEN,
                }
            }
        ],
    }
}  # fmt: skip


def _client_token_source(store: SwarmMemoryStore) -> Object:
    # The admin's token is in the same Secret.
    items = [{"key": CLIENT_FILE, "path": CLIENT_FILE}]
    return {"secret": {"secretName": auth.secret_name(store), "defaultMode": 0o440, "items": items}}


def uses_own_tokens(workload: Object) -> bool:
    """Return whether the agents of a StatefulSet have tokens of their own."""
    volumes = workload["spec"]["template"]["spec"].get("volumes") or ()
    return any(each["name"] == TOKEN_VOLUME and "projected" in each for each in volumes)


def serves_tls(store: SwarmMemoryStore) -> bool:
    """Return whether the memory serves TLS, by the store's status, which follows its pod."""
    endpoints = store.status.endpoints
    return endpoints is not None and (endpoints.http or "").startswith("https://")


def _program(template: AgentTemplate) -> Object:
    """Return command and arguments of the container."""
    if template.command is not None:
        program = [*template.command, *(template.args or ())]
    elif template.image is None:
        program = ["swarm-memory", *(template.args or [_REFERENCE_AGENT])]
    else:
        return {"args": template.args} if template.args else {}
    return {"command": ["/bin/sh", "-c", _LAUNCH, _CONTAINER], "args": program}


def _environment(
    cluster: SwarmCluster, template: AgentTemplate, store: SwarmMemoryStore, *, own_tokens: bool
) -> list[dict[str, Any]]:
    given = {variable.name for variable in template.env}
    client_token = {"secretKeyRef": {"name": auth.secret_name(store), "key": CLIENT_FILE}}
    shared = not own_tokens and config.TOKEN_VARIABLE not in given
    token_file = f"{_TOKEN_DIR}/{_POD_TOKEN if own_tokens else CLIENT_FILE}"
    # The client token of the memory is none of the hive mind's.
    hive = hive_mind.environment(cluster, token_file=token_file, secure=serves_tls(store)) if own_tokens else {}
    values = {
        "SWARM_ID": store.swarm_id,
        "SWARM_TOPOLOGY": cluster.spec.topology,
        "SWARM_PEERS_FILE": f"{_CONFIG_DIR}/{config.peers_file('$(AGENT_ID)')}",
        "SWARM_MEMORY_URL": network.endpoints(store, secure=serves_tls(store))["http"],
        "SWARM_MEMORY_TOKEN_FILE": token_file,
        "SWARM_MCP_CONFIG": f"{_CONFIG_DIR}/{config.MCP_FILE}",
        **hive,
        "AGENT_GRACE": template.termination_grace_period,
        "AGENT_TASK_TYPES": ",".join(template.capabilities),
        "AGENT_COGNITIVE_PATTERNS": ",".join(template.cognitive_patterns),
        **mount.environment(cluster, _CONFIG_DIR),
    }
    if serves_tls(store):
        values["SWARM_MEMORY_CA_FILE"] = f"{CA_DIR}/{CA_FILE}"
        # MCP clients in Node.js trust these certificates beside those that they know.
        if all(variable.name != _NODE_VARIABLE for variable in template.env):
            values[_NODE_VARIABLE] = f"{CA_DIR}/{CA_FILE}"
    return [
        # First, since other variables refer to it.
        {"name": "AGENT_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *({"name": name, "value": value} for name, value in values.items() if value),
        *([{"name": config.TOKEN_VARIABLE, "valueFrom": client_token}] if shared else []),
        # The API server leaves out an empty value, and what is compared with its answer must not have one.
        *(variable.model_dump(by_alias=True, exclude_none=True) for variable in map(_without_empty, template.env)),
    ]


def _without_empty(variable: Any) -> Any:
    return variable.model_copy(update={"value": variable.value or None})
