"""The embedder of a store: what the pod gets of the spec, and whether the Secrets are there that the spec names."""

from __future__ import annotations

from typing import Final

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.embedder import Embedder
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object

CONDITION: Final = "EmbedderReady"
"""Type of the condition of a store whose embedder needs Secrets."""

_DIR: Final = "/etc/swarm-memory/embedder"
_KEY_FILE: Final = "api-key"
_CA_FILE: Final = "ca.crt"
_VOLUME: Final = "embedder"


class EmbedderSecrets(Step[SwarmMemoryStore]):
    """Judge the Secrets of the embedder. They are read in each pass and not watched.

    The pod does not need this step: without the Secrets the memory serves, and makes no vectors.
    """

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        wanted = _wanted(r.parsed.spec.embedder)
        if not wanted:
            r.conditions.remove(CONDITION)
            return done()
        for name, key, _ in wanted:
            try:
                secret = await r.client.server.get(kinds.SECRET, r.parsed.metadata.namespace, name)
            except NotFoundError:
                r.set_condition(
                    CONDITION, failed("SecretMissing", f"there is no Secret {name} in the store's namespace")
                )
                return done()
            if not (secret.get("data") or {}).get(key):
                r.set_condition(CONDITION, failed("KeyMissing", f"Secret {name} has no key {key}, or an empty one"))
                return done()
        r.set_condition(CONDITION, done("SecretsPresent", "the Secrets of the embedder are there"))
        return done()


def variables(store: SwarmMemoryStore) -> dict[str, str]:
    """Return the environment variables of the service. A store without the field has none: its pod stays as it is."""
    found = store.spec.embedder
    if found is None:
        return {}
    texts = {
        "EMBEDDER": found.mode,
        "EMBEDDER_URL": found.url,
        "EMBEDDER_MODEL": found.model,
        "EMBEDDER_WIDTH": found.width,
        "EMBEDDER_KEY_FILE": found.secret_ref and f"{_DIR}/{_KEY_FILE}",
        "EMBEDDER_CA_FILE": found.ca_secret_ref and f"{_DIR}/{_CA_FILE}",
        "EMBEDDER_TIMEOUT": found.timeout,
        "EMBEDDER_BATCH": found.batch,
    }
    return {name: str(text) for name, text in texts.items() if text is not None}


def volumes(store: SwarmMemoryStore) -> list[Object]:
    """Return the volume with the Secrets. They are optional: the kubelet adds their files when they are there."""
    sources = [
        {"secret": {"name": name, "items": [{"key": key, "path": path}], "optional": True}}
        for name, key, path in _wanted(store.spec.embedder)
    ]
    return [{"name": _VOLUME, "projected": {"sources": sources, "defaultMode": 0o440}}] if sources else []


def mounts(store: SwarmMemoryStore) -> list[Object]:
    """Return the mount of that volume."""
    return [{"name": _VOLUME, "mountPath": _DIR, "readOnly": True}] if _wanted(store.spec.embedder) else []


def _wanted(embedder: Embedder | None) -> list[tuple[str, str, str]]:
    """Return each Secret that the embedder needs: its name, its key, and the name of the file."""
    found = []
    if embedder and embedder.secret_ref:
        found.append((embedder.secret_ref.name, embedder.secret_ref.key, _KEY_FILE))
    if embedder and embedder.ca_secret_ref:
        found.append((embedder.ca_secret_ref.name, _CA_FILE, _CA_FILE))
    return found
