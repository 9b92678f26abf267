"""Field for the service accounts that may use a memory."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from swarm_operator.api.v1alpha1.common import SUBDOMAIN, ApiModel, rule
from swarm_operator.shared.access import MAX_NAMESPACES
from swarm_operator.shared.limits import NAMESPACE_BYTES

_MAX_RULES = 32
_MEMORY_NAMESPACE = Annotated[
    str,
    Field(min_length=NAMESPACE_BYTES.least, max_length=NAMESPACE_BYTES.most, description="Namespace of the memory."),
]


class ServiceAccountReference(ApiModel):
    """A service account."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)]
    """Name of the service account."""
    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=SUBDOMAIN)] | None = None
    """Namespace of the service account. Default: the memory's."""


class AccessRule(ApiModel):
    """Permissions of the pods of one service account."""

    service_account: ServiceAccountReference
    """The service account."""
    access: Literal["read", "write"]
    """read, or write, which includes read."""
    memory_namespaces: Annotated[list[_MEMORY_NAMESPACE], Field(min_length=1, max_length=MAX_NAMESPACES)] | None = None
    """Namespaces of the memory that the pods may use, with those below them: team-a and team-a/notes, not team-ab.
    Default: all."""


AccessRules = Annotated[
    list[AccessRule],
    Field(
        max_length=_MAX_RULES,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.all(one, self.exists_one(other, one.serviceAccount == other.serviceAccount))",
                    "must have one rule for each serviceAccount",
                )
            ]
        },
    ),
]
