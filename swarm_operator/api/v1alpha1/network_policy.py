"""Field for the pods that may reach a store: peers as in NetworkPolicies of networking.k8s.io/v1."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from swarm_operator.api.v1alpha1.common import ApiModel, rule

_NAME = Annotated[str, Field(min_length=1, max_length=317)]
_VALUE = Annotated[str, Field(max_length=63, description="Value of a label.")]
_CIDR = Annotated[
    str,
    Field(
        max_length=43,
        description="Range of addresses.",
        json_schema_extra={
            "x-kubernetes-validations": [rule("isCIDR(self)", "must be a CIDR, such as 10.0.0.0/16 or 2001:db8::/64")]
        },
    ),
]


class LabelSelectorRequirement(ApiModel):
    """One requirement on a label."""

    key: _NAME
    """Name of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """Relation of the label to the values."""
    values: Annotated[list[_VALUE], Field(max_length=32)] | None = None
    """Values for In and NotIn."""


class LabelSelector(ApiModel):
    """Objects with these labels; all, if it is empty."""

    match_labels: Annotated[dict[str, _VALUE], Field(max_length=32)] | None = None
    """Labels and their values."""
    match_expressions: Annotated[list[LabelSelectorRequirement], Field(max_length=32)] | None = None
    """Further requirements."""


class IPBlock(ApiModel):
    """A range of addresses."""

    cidr: _CIDR
    """The range."""
    excluded: Annotated[list[_CIDR], Field(max_length=32)] | None = Field(default=None, alias="except")
    """Parts of the range that are left out."""


class NetworkPolicyPeer(ApiModel):
    """Pods, by their labels and those of their namespaces, or addresses."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
                    "must have either ipBlock, or podSelector, namespaceSelector or both",
                ),
            ]
        }
    )

    pod_selector: LabelSelector | None = None
    """Labels of the pods. Default: all pods of the namespaces."""
    namespace_selector: LabelSelector | None = None
    """Labels of the namespaces. Default: the store's own namespace."""
    ip_block: IPBlock | None = None
    """Addresses outside of the cluster."""


class NetworkPolicySettings(ApiModel):
    """Peers that may reach the pod of a store. The operator and the store's own Jobs always may."""

    enabled: bool = True
    """Make a NetworkPolicy. Without a policy every pod in the cluster reaches the store's pod, and needs a token."""
    clients: Annotated[list[NetworkPolicyPeer], Field(max_length=32)] | None = Field(default=None, alias="from")
    """Peers that may use the HTTP and the gRPC API. Default: all pods of the store's namespace, but for agents of other
    swarms. An empty list allows no peer."""
    metrics_from: Annotated[list[NetworkPolicyPeer], Field(max_length=32)] | None = None
    """Peers that may read the metrics, which need no token. Default: everybody."""
