"""Namespaces in which a SwarmCluster may have its parts."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from swarm_operator.api.v1alpha1.common import ApiModel, rule, unchanged

SYSTEM_PREFIX = "kube-"
"""Prefix of the names of Kubernetes' own namespaces."""

_FIXED = "cannot be changed: what the swarm has stays where it is"

NamespaceName = Annotated[
    str,
    Field(
        description="Name of a namespace.",
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(f"!self.startsWith('{SYSTEM_PREFIX}')", "cannot be a namespace of Kubernetes itself (kube-*)")
            ]
        },
    ),
]


def _allowed(field: str) -> dict[str, Any]:
    return rule(
        f"!has(self.{field}) || !has(self.allowedNamespaces) || self.{field} in self.allowedNamespaces",
        "is not in allowedNamespaces; add it there or name another",
        f".{field}",
    )


class NamespaceConfig(ApiModel):
    """Namespaces of a swarm's parts. An empty one asks for the operator's two default namespaces."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _allowed("swarmNamespace"),
                _allowed("hiveMindNamespace"),
                unchanged("swarmNamespace", _FIXED),
                unchanged("hiveMindNamespace", _FIXED),
            ]
        }
    )

    swarm_namespace: NamespaceName | None = None
    """Namespace of the swarm's memory and agents. Default: the operator's --swarm-namespace, claude-flow-swarm. Another
    namespace than the cluster's own is used if the operator made it for this cluster, or if its annotation
    swarm.claudeflow.io/allow-clusters-from names the cluster's namespace. Cannot be changed."""
    hive_mind_namespace: NamespaceName | None = None
    """Namespace of the hive mind, by the same rules. Default: the operator's --hive-mind-namespace,
    claude-flow-hivemind. Cannot be changed."""
    allowed_namespaces: Annotated[list[NamespaceName], Field(min_length=1, max_length=100)] | None = None
    """Namespaces that the swarm may use besides its own. It allows none that does not allow the swarm. Default: any."""
    create_namespaces: bool = True
    """Create missing namespaces. A namespace that was created is deleted with the cluster if nothing else is in it."""


def unchanged_config() -> dict[str, Any]:
    """Return the rule of a SwarmClusterSpec that namespaceConfig is neither added nor removed later."""
    return rule("has(self.namespaceConfig) == has(oldSelf.namespaceConfig)", _FIXED, ".namespaceConfig")
