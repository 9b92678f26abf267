"""Field for TLS of a store: whether it is served, and with which certificate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from swarm_operator.api.v1alpha1.common import ApiModel, rule

_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"


class TLSSettings(ApiModel):
    """TLS on all ports of a store."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "has(self.secretName) == (has(self.mode) && self.mode == 'secret')",
                    "must be given with mode secret, and only then",
                    ".secretName",
                )
            ]
        }
    )

    mode: Literal["auto", "secret", "off"] = "off"
    """auto: the operator's own CA signs the certificate. secret: a Secret of yours has it. off: no TLS."""
    secret_name: Annotated[str, Field(min_length=1, max_length=253, pattern=_SUBDOMAIN)] | None = None
    """Secret of type kubernetes.io/tls in the store's namespace, with ca.crt too: as cert-manager makes it."""
