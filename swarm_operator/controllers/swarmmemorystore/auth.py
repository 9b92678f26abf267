"""The Secret with a store's bearer tokens: created once with random tokens, which are never overwritten."""

from __future__ import annotations

import base64
import secrets

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed
from swarm_operator.runtime.resource import Object, key_of
from swarm_operator.shared import tokens
from swarm_operator.shared.secret_list import SecretFormatError
from swarm_operator.shared.tokens import ADMIN_FILE, CLIENT_FILE


class Auth(Step[SwarmMemoryStore]):
    """Ensure the Secret, and check its tokens as the memory service does.

    It is read in each pass and not watched: a watch takes the right to list all Secrets. A pod that needs the Secret
    when it starts causes a pass.
    """

    condition = "AuthReady"

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        secret = await children.create_once(r, kinds.SECRET, new_secret(r.parsed))
        return secret_outcome(await _repaired(r, secret))


async def _repaired(r: Reconciliation[SwarmMemoryStore], secret: Object) -> Object:
    """Give a Secret that lacks one of our tokens a new one, with an event. What it has stays as it is."""
    metadata, data = secret["metadata"], secret.get("data") or {}
    lost = [name for name in (CLIENT_FILE, ADMIN_FILE) if not data.get(name)]
    if not lost or metadata.get("deletionTimestamp"):
        return secret
    new = new_secret(r.parsed)["data"]
    # The version makes the server refuse if somebody has changed the Secret meanwhile.
    patch = {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "data": {name: new[name] for name in lost},
    }
    namespace, name = key_of(secret)
    repaired = await r.cache.merge(kinds.SECRET, namespace, name, patch, field_manager=labels.FIELD_MANAGER)
    note = f"Secret {name} had lost {' and '.join(lost)}: made anew"
    r.recorder.event(r.obj, "Warning", "TokensReplaced", note, action="Update")
    r.children[kinds.SECRET, name] = repaired
    return repaired


def secret_outcome(secret: Object) -> Outcome:
    """Return the outcome of the Secret's tokens. Reasons: TokensValid or TokensInvalid; no message quotes a token."""
    files = {name: base64.b64decode(value or "") for name, value in (secret.get("data") or {}).items()}
    try:
        tokens.check(files)
    except SecretFormatError as error:
        return failed("TokensInvalid", f"Secret {secret['metadata']['name']}: {error}")
    return done("TokensValid")


def secret_name(store: SwarmMemoryStore) -> str:
    """Return the name of the Secret."""
    return f"{store.metadata.name}-auth"


def new_secret(store: SwarmMemoryStore) -> Object:
    """Return a Secret with new tokens of 256 random bits each; the pod mounts the tokens as files."""
    return {
        "metadata": {"name": secret_name(store), "labels": labels.of_store(store)},
        "type": "Opaque",
        "data": {
            name: base64.b64encode(secrets.token_urlsafe(32).encode()).decode() for name in (CLIENT_FILE, ADMIN_FILE)
        },
    }


def token_of(secret: Object) -> str | None:
    """Return the client token, or None if the Secret does not hold a readable one."""
    try:
        return base64.b64decode(secret["data"][CLIENT_FILE], validate=True).decode("ascii") or None
    except (KeyError, TypeError, ValueError):
        return None
