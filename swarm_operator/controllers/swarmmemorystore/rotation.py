"""New tokens in place of those of a store's Secret. For OVERLAP seconds both work.

The Secret has the progress of a rotation. So a restarted operator continues a rotation, and no value of the annotation
is carried out twice.
"""

from __future__ import annotations

import base64
import secrets
from datetime import datetime
from typing import Any, Final

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.resource import Object, key_of
from swarm_operator.shared.tokens import FORMER_FILES

OVERLAP: Final = 3600.0
"""Seconds for which the former tokens still work. A pod that mounts the Secret has the new tokens in a minute; a client
with a copy needs longer."""


def asked(obj: Object) -> str | None:
    """Return the value with which a store asks for new tokens."""
    value: str | None = (obj["metadata"].get("annotations") or {}).get(labels.ROTATE_TOKENS)
    return value or None


def new_tokens() -> dict[str, str]:
    """Return two tokens of 256 random bits each, as data of a Secret."""
    return {name: base64.b64encode(secrets.token_urlsafe(32).encode()).decode() for name in FORMER_FILES}


async def rotate(r: Reconciliation[SwarmMemoryStore], secret: Object) -> tuple[Object, float]:
    """Bring a rotation one step closer to its end. Return the Secret, and the seconds for which both tokens still work.

    A second rotation begins when the first has ended.
    """
    metadata, data = secret["metadata"], secret.get("data") or {}
    if metadata.get("deletionTimestamp"):
        return secret, 0.0
    annotations = metadata.get("annotations") or {}
    former = {name: None for name in FORMER_FILES.values() if name in data}
    if former:
        left = _left(annotations.get(labels.TOKENS_ROTATED), r.clock.now())
        if left > 0:
            return secret, left
        secret = await _patch(r, secret, {"data": former})
        r.recorder.event(r.obj, "Normal", "FormerTokensRemoved", "the former tokens no longer work", action="Update")
    value = asked(r.obj)
    if value is None or value == annotations.get(labels.ROTATE_TOKENS):
        return secret, 0.0
    marks = {labels.ROTATE_TOKENS: value, labels.TOKENS_ROTATED: rfc3339(r.clock.now())}
    kept = {former: data[name] for name, former in FORMER_FILES.items() if data.get(name)}
    secret = await _patch(r, secret, {"metadata": {"annotations": marks}, "data": {**new_tokens(), **kept}})
    note = f"new tokens in Secret {metadata['name']}; the former ones work for another {OVERLAP / 60:.0f} minutes"
    r.recorder.event(r.obj, "Normal", "TokensRotated", note, action="Update")
    return secret, OVERLAP


def _left(since: str | None, now: datetime) -> float:
    """Return the seconds of the overlap that are left; 0 if its begin is unknown."""
    try:
        elapsed = (now - datetime.fromisoformat(since or "")).total_seconds()
    except (ValueError, TypeError):  # no time, or one without a zone
        return 0.0
    return OVERLAP - abs(elapsed)


async def _patch(r: Reconciliation[SwarmMemoryStore], secret: Object, patch: dict[str, Any]) -> Object:
    metadata = secret["metadata"]
    namespace, name = key_of(secret)
    # The version makes the server refuse the write if the Secret has changed since it was read.
    identity = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    wanted = {**patch, "metadata": {**patch.get("metadata", {}), **identity}}
    r.children[kinds.SECRET, name] = await r.client.merge(
        kinds.SECRET, namespace, name, wanted, field_manager=labels.FIELD_MANAGER
    )
    return r.children[kinds.SECRET, name]
