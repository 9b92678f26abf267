"""Field for the model that makes the vectors of a store's entries, which searches by meaning use."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from swarm_operator.api.quantity import Interval
from swarm_operator.api.v1alpha1.backups import ObjectReference
from swarm_operator.api.v1alpha1.common import SUBDOMAIN, ApiModel, at_most, matching, rule
from swarm_operator.shared.limits import EMBEDDER_BATCH, EMBEDDER_TIMEOUT, VECTOR_WIDTH

_URL = r"^https?://[A-Za-z0-9.\\[\\]:-]+(/[A-Za-z0-9._~%/-]*)?$"
_OF_HTTP = "has(self.mode) && self.mode == 'http'"

_LIMIT = at_most("timeout", f"{EMBEDDER_TIMEOUT.most}s")


def _with_http(field: str) -> dict[str, Any]:
    return rule(f"!has(self.{field}) || ({_OF_HTTP})", "can be given with mode http only", f".{field}")


class KeyReference(ApiModel):
    """A key of a Secret in the store's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "api-key"
    """Key in it."""


class Embedder(ApiModel):
    """Model that makes the vectors of entries and of questions."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                *(
                    rule(
                        f"has(self.{field}) == ({_OF_HTTP})", "must be given with mode http, and only then", f".{field}"
                    )
                    for field in ("url", "model", "width")
                ),
                *(_with_http(field) for field in ("secretRef", "caSecretRef", "timeout", "batch")),
                rule(f"!has(self.timeout) || {_LIMIT['rule']}", _LIMIT["message"], ".timeout"),
            ]
        }
    )

    mode: Literal["none", "static", "http"] = "none"
    """none: only clients supply vectors. static: the model that the image carries. http: an endpoint that is compatible
    with OpenAI's /v1/embeddings, which reads the text of all entries."""
    url: (
        Annotated[
            str,
            matching(_URL, "must be https://HOST/v1 or http://HOST:PORT/v1, without user, query and fragment"),
        ]
        | None
    ) = None
    """URL of the endpoint up to its version. Texts are posted to URL/embeddings."""
    model: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")] | None = None
    """Name of the model, as the endpoint knows it."""
    width: Annotated[int, Field(ge=VECTOR_WIDTH.least, le=VECTOR_WIDTH.most)] | None = None
    """Dimensions of the model's vectors. It is required, so that the memory can start while the endpoint is
    unreachable."""
    secret_ref: KeyReference | None = None
    """The Secret with the endpoint's key, which the pod mounts. Default: no key is sent."""
    ca_secret_ref: ObjectReference | None = None
    """Secret with the key ca.crt: certificates of the authorities that the endpoint's certificate is checked with."""
    timeout: Interval | None = None
    """Time until a request fails, with all attempts: at most 5m. Default: 10s."""
    batch: Annotated[int, Field(ge=EMBEDDER_BATCH.least, le=EMBEDDER_BATCH.most)] | None = None
    """Largest number of texts in a request. Default: 64."""
