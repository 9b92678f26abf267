"""The Secret with a store's bearer tokens: created once with random tokens, which are replaced only when asked for."""

from __future__ import annotations

import base64

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed
from swarm_operator.controllers.swarmmemorystore import rotation
from swarm_operator.runtime.resource import Object, key_of
from swarm_operator.shared import tokens
from swarm_operator.shared.secret_list import SecretFormatError
from swarm_operator.shared.tokens import CLIENT_FILE, FORMER_FILES


class Auth(Step[SwarmMemoryStore]):
    """Ensure the Secret, and check its tokens as the memory service does.

    It is read in each pass and not watched: a watch takes the right to list all Secrets. A pod that needs the Secret
    when it starts causes a pass.
    """

    condition = "AuthReady"

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        secret = await children.create_once(r, kinds.SECRET, new_secret(r.parsed, rotation.asked(r.obj)))
        secret, overlap = await rotation.rotate(r, await _repaired(r, secret))
        return secret_outcome(secret, overlap)


async def _repaired(r: Reconciliation[SwarmMemoryStore], secret: Object) -> Object:
    """Give a Secret that lacks one of our tokens a new one, with an event. Existing keys stay as they are."""
    metadata, data = secret["metadata"], secret.get("data") or {}
    lost = [name for name in FORMER_FILES if not data.get(name)]
    if not lost or metadata.get("deletionTimestamp"):
        return secret
    new = rotation.new_tokens()
    # The version makes the server refuse the write if the Secret has changed since it was read.
    patch = {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "data": {name: new[name] for name in lost},
    }
    namespace, name = key_of(secret)
    repaired = await r.client.merge(kinds.SECRET, namespace, name, patch, field_manager=labels.FIELD_MANAGER)
    note = f"Secret {name} lacked {' and '.join(lost)}: the operator made new tokens"
    r.recorder.event(r.obj, "Warning", "TokensReplaced", note, action="Update")
    r.children[kinds.SECRET, name] = repaired
    return repaired


def secret_outcome(secret: Object, overlap: float = 0.0) -> Outcome:
    """Return the outcome of the Secret's tokens; no message quotes a token.

    Reasons: TokensValid, TokensRotating for the `overlap` seconds in which the former tokens still work, or
    TokensInvalid.
    """
    files = {name: base64.b64decode(value or "") for name, value in (secret.get("data") or {}).items()}
    name = secret["metadata"]["name"]
    try:
        tokens.check(files)
    except SecretFormatError as error:
        return failed("TokensInvalid", f"Secret {name}: {error}", requeue_after=overlap)
    if overlap:
        since = secret["metadata"]["annotations"][labels.TOKENS_ROTATED]
        message = f"the tokens from before {since} work for {rotation.OVERLAP / 60:.0f} minutes after it"
        return done("TokensRotating", message, requeue_after=overlap)
    return done("TokensValid")


def secret_name(store: SwarmMemoryStore) -> str:
    """Return the name of the Secret."""
    return f"{store.metadata.name}-auth"


def new_secret(store: SwarmMemoryStore, rotation_asked: str | None = None) -> Object:
    """Return a Secret with new tokens, which the pod mounts as files."""
    marks = {"annotations": {labels.ROTATE_TOKENS: rotation_asked}} if rotation_asked else {}
    return {
        "metadata": {"name": secret_name(store), "labels": labels.of_store(store), **marks},
        "type": "Opaque",
        "data": rotation.new_tokens(),
    }


def token_of(secret: Object, file: str = CLIENT_FILE) -> str | None:
    """Return the token of a file, or None if the Secret does not hold a readable one.

    The token before is preferred while it works: the pod may not have the new one yet.
    """
    data = secret.get("data") or {}
    try:
        return base64.b64decode(data.get(FORMER_FILES[file]) or data[file], validate=True).decode("ascii") or None
    except (KeyError, TypeError, ValueError):
        return None
