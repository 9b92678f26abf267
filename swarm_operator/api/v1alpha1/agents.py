"""Fields of a swarm's agents: how they run, how they are connected, and how their number follows their work."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from swarm_operator.api.quantity import Interval
from swarm_operator.api.v1alpha1.common import ApiModel, at_most, rule
from swarm_operator.api.v1alpha1.pod_template import PodTemplate

Topology = Literal["mesh", "ring", "star", "hierarchical"]
"""Topology of the agents' connections."""

MAX_AGENTS: Final = 100
"""Largest number of agents. The names of all peers of all agents of a mesh fit into one ConfigMap."""

RESERVED: Final = (
    *("SWARM_ID", "AGENT_ID", "SWARM_TOPOLOGY", "SWARM_PEERS", "SWARM_PEERS_FILE", "SWARM_MEMORY_URL"),
    *("SWARM_MEMORY_TOKEN_FILE", "SWARM_MEMORY_CA_FILE", "SWARM_MCP_CONFIG", "AGENT_GRACE"),
    *("SWARM_HIVE_MIND_URL", "SWARM_HIVE_MIND_TOKEN_FILE", "AGENT_TASK_TYPES", "AGENT_COGNITIVE_PATTERNS"),
    *("GITHUB_TOKEN_FILE", "GIT_CONFIG_SYSTEM"),
)
"""Environment variables that the operator sets."""

LooseObject = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "description": "As in Kubernetes, whose API server checks it.",
        }
    ),
]
"""A part of an object of Kubernetes, which the API server checks when it is used."""
Word = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^,\s]+$", description="One word.")]
Argument = Annotated[str, Field(max_length=4096, description="One argument.")]


class EnvironmentVariable(ApiModel):
    """An environment variable, as in a pod."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.value) || !has(self.valueFrom)",
                    "cannot be given with value: a variable has one source",
                    ".valueFrom",
                ),
                rule(
                    f"!(self.name in {list(RESERVED)})",
                    f"is set by the operator, as are all of {', '.join(RESERVED)}",
                    ".name",
                ),
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=32768)] | None = None
    """Its value. $(NAME) is replaced by the value of an earlier variable."""
    value_from: LooseObject | None = None
    """Source of its value: secretKeyRef, configMapKeyRef, fieldRef or resourceFieldRef, as in a pod."""


class AgentTemplate(ApiModel):
    """Template of an agent's pod."""

    model_config = ConfigDict(
        json_schema_extra={"x-kubernetes-validations": [at_most("terminationGracePeriod", "24h")]}
    )

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Image of the agents. Default: the memory service's, which has a reference agent."""
    command: Annotated[list[Argument], Field(min_length=1, max_length=64)] | None = None
    """Program of an agent, in place of the image's own. The image's /bin/sh starts it, with SWARM_PEERS set. An image
    without a shell leaves this out, and reads its peers from the file that SWARM_PEERS_FILE names."""
    args: Annotated[list[Argument], Field(max_length=64)] | None = None
    """Arguments. Default with the memory service's image and without a command: those of the reference agent."""
    env: Annotated[
        list[EnvironmentVariable],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = Field(default_factory=list)
    """Further environment variables."""
    capabilities: Annotated[list[Word], Field(max_length=64)] = Field(default_factory=list)
    """Types of tasks that the agents claim, in AGENT_TASK_TYPES. Default: all. The reference agent registers with
    them."""
    cognitive_patterns: Annotated[list[Word], Field(max_length=16)] = Field(default_factory=list)
    """Ways of thinking of the agents, such as divergent, in AGENT_COGNITIVE_PATTERNS. The reference agent registers
    with them."""
    pod_template: PodTemplate | None = None
    """Additions to the agents' pods. Their container is named agent."""
    termination_grace_period: Interval = "30s"
    """Time that an agent has to finish its task when it is scaled down or replaced. Its pod has 20 seconds more, in
    which the reference agent releases the task and deregisters."""


class Autoscaling(ApiModel):
    """Automatic scaling of the agents: a HorizontalPodAutoscaler on this object."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": [at_most("stabilizationWindow", "1h")]})

    enabled: bool = False
    """Make the HorizontalPodAutoscaler `NAME-agent`. It writes spec.agents. Setting it back to false deletes it."""
    min_agents: Annotated[int, Field(ge=1, le=MAX_AGENTS)] | None = None
    """Smallest number of agents that it asks for. Default: minAgents of the spec, or 1. Not less than that."""
    max_agents: Annotated[int, Field(ge=1, le=MAX_AGENTS)] | None = None
    """Largest number of agents that it asks for. Default: maxAgents of the spec. Not more than that."""
    target_utilization: Annotated[int, Field(ge=1, le=1000)] | None = None
    """CPU that agents are to use on average, in percent of what they request. Default: 80 if there are no metrics."""
    stabilization_window: Interval = "5m"
    """Time for which fewer agents must have sufficed before the number is reduced."""
    metrics: Annotated[list[LooseObject], Field(max_length=16)] = Field(default_factory=list)
    """Further metrics, as in a HorizontalPodAutoscaler of autoscaling/v2."""


AGENT_RULES: Final = (
    rule(
        "!has(self.maxAgents) || self.minAgents <= self.maxAgents",
        "must be at most maxAgents",
        ".minAgents",
    ),
    rule(
        "!has(self.autoscaling) || !self.autoscaling.enabled || has(self.autoscaling.maxAgents) || has(self.maxAgents)",
        "is required when enabled is true, here or in the spec: the largest number of agents",
        ".autoscaling.maxAgents",
    ),
    rule(
        "!has(self.autoscaling) || !has(self.autoscaling.minAgents) || self.autoscaling.minAgents >= self.minAgents",
        "must be at least minAgents of the spec",
        ".autoscaling.minAgents",
    ),
    rule(
        "!has(self.autoscaling) || !has(self.autoscaling.maxAgents) || !has(self.maxAgents)"
        " || self.autoscaling.maxAgents <= self.maxAgents",
        "must be at most maxAgents of the spec",
        ".autoscaling.maxAgents",
    ),
    rule(
        "!has(self.autoscaling) || !has(self.autoscaling.minAgents)"
        " || ((!has(self.autoscaling.maxAgents) || self.autoscaling.minAgents <= self.autoscaling.maxAgents)"
        " && (!has(self.maxAgents) || self.autoscaling.minAgents <= self.maxAgents))",
        "must be at most maxAgents",
        ".autoscaling.minAgents",
    ),
    rule(
        "!has(self.autoscaling) || !has(self.autoscaling.maxAgents) || self.minAgents <= self.autoscaling.maxAgents",
        "must be at least minAgents of the spec",
        ".autoscaling.maxAgents",
    ),
)
"""Rules of a SwarmCluster's spec about the numbers of its agents."""
