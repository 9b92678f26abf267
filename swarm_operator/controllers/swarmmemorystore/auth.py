"""The Secret with a store's bearer tokens: created once with random tokens, never overwritten."""

from __future__ import annotations

import base64
import secrets

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done
from swarm_operator.runtime.resource import Object

CLIENT_TOKEN = "client-token"  # noqa: S105 - the name of a file
ADMIN_TOKEN = "admin-token"  # noqa: S105 - the name of a file


class Auth(Step[SwarmMemoryStore]):
    """Create the Secret. It is not watched: that takes the right to list all Secrets."""

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        await children.create_once(r, kinds.SECRET, new_secret(r.parsed))
        return done()


def secret_name(store: SwarmMemoryStore) -> str:
    """Return the name of the Secret."""
    return f"{store.metadata.name}-auth"


def new_secret(store: SwarmMemoryStore) -> Object:
    """Return a Secret with new tokens of 256 random bits each; the pod mounts the tokens as files."""
    return {
        "metadata": {"name": secret_name(store), "labels": labels.of_store(store)},
        "type": "Opaque",
        "data": {
            name: base64.b64encode(secrets.token_urlsafe(32).encode()).decode() for name in (CLIENT_TOKEN, ADMIN_TOKEN)
        },
    }


def token_of(secret: Object) -> str | None:
    """Return the client token, or None if the Secret does not hold a readable one."""
    try:
        return base64.b64decode(secret["data"][CLIENT_TOKEN], validate=True).decode("ascii") or None
    except (KeyError, TypeError, ValueError):
        return None
