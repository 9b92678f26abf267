"""podTemplate: what users add to the pods that the operator makes.

The spec has no schema here. The schema of a PodTemplateSpec exceeds the limit of `kubectl apply`'s annotation, and
would refuse fields of newer Kubernetes releases. The operator checks what it must decide itself, and the API server the
rest.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from swarm_operator.api.v1alpha1.common import ApiModel


class PodTemplateMetadata(ApiModel):
    """Labels and annotations of a pod."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that are added to the pod's."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations that are added to the pod's."""


class PodTemplate(ApiModel):
    """Metadata and spec that are merged into a pod's template by the rules of a strategic merge patch."""

    metadata: PodTemplateMetadata | None = None
    """Labels and annotations of the pod."""
    spec: Annotated[
        dict[str, Any],
        WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
    ] = Field(default_factory=dict)
    """Fields of a PodSpec. Containers, volumes and the like are merged by their names. Fields that the operator sets
    cannot be changed. Security contexts stay within the restricted Pod Security Standard."""
