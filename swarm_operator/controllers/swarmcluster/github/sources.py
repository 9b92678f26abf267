"""The Secrets from which a token's request is made: the App's private key and the CA of its server.

They are read when a token is due, and not watched: a watch takes the right to list all Secrets.
"""

from __future__ import annotations

import base64
from typing import Final

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.github import GITHUB_API_URL, GitHubApp
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmcluster.github.api import Server, TokenRequest
from swarm_operator.controllers.swarmcluster.github.errors import GitHubError
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object

CA_KEY: Final = "ca.crt"


async def token_request(r: Reconciliation[SwarmCluster], app: GitHubApp) -> TokenRequest:
    """Return what a cluster asks for.

    Raises:
        GitHubError: a Secret is missing or may not be used.
        ApiError: a Secret cannot be read.
    """
    return TokenRequest(
        server=Server(api_url(app), await _ca(r, app)),
        app_id=app.app_id,
        key=await _private_key(r, app),
        installation_id=app.installation_id,
        repositories=tuple(sorted(set(app.repositories or ()))),
        permissions=tuple(sorted((app.permissions or {}).items())),
    )


def api_url(app: GitHubApp) -> str:
    """Return the URL of the API in the form that all URLs are made from."""
    return app.api_url.rstrip("/")


def allows(secret: Object, home: str, url: str) -> bool:
    """Return whether clusters of a namespace may use a key that is in another one, for this API.

    The App's own token is sent to the API, whose operator could then do more than a cluster may. So the Secret's author
    names the API.
    """
    metadata = secret["metadata"]
    annotations = metadata.get("annotations") or {}
    named = (metadata.get("labels") or {}).get(labels.ALLOW_CLUSTERS_FROM)
    listed = [name.strip() for name in annotations.get(labels.ALLOW_CLUSTERS_FROM, "").split(",")]
    return (named == home or home in listed or "*" in listed) and url == annotations.get(
        labels.GITHUB_API_URL, GITHUB_API_URL
    ).rstrip("/")


async def _private_key(r: Reconciliation[SwarmCluster], app: GitHubApp) -> bytes:
    ref, home = app.private_key_ref, r.parsed.metadata.namespace
    namespace = ref.namespace or home
    secret = await _read(r, namespace, ref.name)
    if namespace != home and (secret is None or not allows(secret, home, api_url(app))):
        # One message for both cases: clusters of other namespaces must not learn whether a Secret exists.
        message = (
            f"Secret {namespace}/{ref.name} does not exist, or does not allow clusters of namespace {home} to use it"
            f" for {api_url(app)}; its label {labels.ALLOW_CLUSTERS_FROM}={home} would"
        )
        raise GitHubError("KeyNotAllowed", message)
    if secret is None:
        raise GitHubError("KeyNotFound", f"Secret {ref.name} does not exist")
    return _value(secret, ref.key, "KeyNotFound")


async def _ca(r: Reconciliation[SwarmCluster], app: GitHubApp) -> str | None:
    if app.ca_secret_ref is None:
        return None
    name = app.ca_secret_ref.name
    secret = await _read(r, r.parsed.metadata.namespace, name)
    if secret is None:
        raise GitHubError("CANotFound", f"Secret {name} does not exist")
    return _value(secret, CA_KEY, "CANotFound").decode("ascii", errors="replace")


async def _read(r: Reconciliation[SwarmCluster], namespace: str, name: str) -> Object | None:
    try:
        return await r.client.server.get(kinds.SECRET, namespace, name)
    except NotFoundError:
        return None


def _value(secret: Object, key: str, reason: str) -> bytes:
    value = base64.b64decode((secret.get("data") or {}).get(key) or "")
    if not value:
        raise GitHubError(reason, f"Secret {secret['metadata']['name']} has no key {key}, or nothing in it")
    return value
