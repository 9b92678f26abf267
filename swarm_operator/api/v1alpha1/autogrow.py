"""Field for automatic growth of the data volume."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from swarm_operator.api.quantity import StorageSize
from swarm_operator.api.v1alpha1.common import ApiModel


class Autogrow(ApiModel):
    """Growth of the data volume when it fills up, where its storage class allows that."""

    threshold: Annotated[int, Field(ge=10, le=99)] = 80
    """Percent of the volume that are used when it grows."""
    step: StorageSize | None = None
    """Size by which it grows, at most once in 10 minutes. Default: a fifth of its size."""
    max: StorageSize
    """Size beyond which it does not grow automatically."""
