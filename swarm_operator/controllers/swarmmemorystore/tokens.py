"""The Secret with a store's bearer tokens: made once with random ones, and never overwritten."""

from __future__ import annotations

import base64
import secrets

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers import labels
from swarm_operator.runtime.resource import Object

CLIENT_TOKEN = "client-token"  # noqa: S105 - the name of a file
ADMIN_TOKEN = "admin-token"  # noqa: S105 - the name of a file


def secret_name(store: SwarmMemoryStore) -> str:
    """Name of the Secret."""
    return f"{store.metadata.name}-auth"


def new_secret(store: SwarmMemoryStore) -> Object:
    """A Secret with new tokens of 256 random bits each; the pod mounts it as files."""
    return {
        "metadata": {"name": secret_name(store), "labels": labels.of_store(store)},
        "type": "Opaque",
        "data": {
            name: base64.b64encode(secrets.token_urlsafe(32).encode()).decode() for name in (CLIENT_TOKEN, ADMIN_TOKEN)
        },
    }


def token_of(secret: Object) -> str | None:
    """The client token, or None when the Secret does not hold one that can be read."""
    try:
        return base64.b64decode(secret["data"][CLIENT_TOKEN], validate=True).decode("ascii") or None
    except (KeyError, TypeError, ValueError):
        return None
