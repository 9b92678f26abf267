"""The Secret with the token, in the namespace of the agents, who mount it. Its annotations have the age of the token.

It is read in each pass and not watched: a watch takes the right to list all Secrets.
"""

from __future__ import annotations

import base64
import hashlib
import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from swarm_operator.api.duration import parse_duration
from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.github import GitHubApp
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.errors import NameTakenError
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmcluster.github.api import Minted, TokenRequest
from swarm_operator.controllers.swarmcluster.github.sources import CA_KEY, api_url
from swarm_operator.controllers.swarmcluster.placement import swarm_namespace
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object, key_of

TOKEN_KEY: Final = "token"  # noqa: S105 - a name
_LAST_PART: Final = 5 / 6
"""Part of its lifetime after which a token is replaced at the latest: 50 minutes of GitHub's 60."""
_JITTER: Final = 0.1
_SHORTEST: Final = 60.0
"""Seconds that a token is used at least, however soon it expires."""
_CLOCK_TOLERANCE: Final = 60.0
"""Seconds that a token may be from the future."""


@dataclass(frozen=True, slots=True)
class Held:
    """The token that a Secret holds."""

    token: str = field(repr=False)
    ca: str | None
    api_url: str
    request: str
    """Digest of what it was asked for."""
    rotated_at: datetime
    expires_at: datetime

    def works(self, now: datetime) -> bool:
        """Return whether it has not expired."""
        return now < self.expires_at

    def seconds_left(self, cluster: SwarmCluster, app: GitHubApp, now: datetime) -> float:
        """Return the seconds until the token must be replaced: 0.0 for now."""
        age = (now - self.rotated_at).total_seconds()
        lifetime = (self.expires_at - self.rotated_at).total_seconds()
        # The age is unknown after a clock was set back.
        if self.request != digest(app) or age < -_CLOCK_TOLERANCE:
            return 0.0
        # The same in each pass, and another one for each cluster and token.
        spread = random.Random(f"{cluster.metadata.uid} {self.rotated_at}").uniform(1 - _JITTER, 1)  # noqa: S311
        wanted = min(parse_duration(app.token_ttl), lifetime * _LAST_PART) * spread
        return max(0.0, max(wanted, _SHORTEST) - age)


def name(cluster: SwarmCluster) -> str:
    """Return the name of the Secret."""
    return f"{cluster.metadata.name}-github-token"


def digest(app: GitHubApp) -> str:
    """Return a digest of what decides what a token is good for."""
    asked = (
        api_url(app),
        app.app_id,
        app.installation_id,
        sorted(set(app.repositories or ())),
        sorted((app.permissions or {}).items()),
    )
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


async def read(r: Reconciliation[SwarmCluster]) -> Object | None:
    """Return the cluster's Secret, or None.

    Raises:
        NameTakenError: a Secret that is not ours has the name.
        ApiError: it cannot be read.
    """
    try:
        live = await r.client.server.get(kinds.SECRET, swarm_namespace(r.parsed), name(r.parsed))
    except NotFoundError:
        return None
    if not children.is_ours(r.obj, live, None):
        raise NameTakenError(kinds.SECRET, name(r.parsed))
    return live


def held(secret: Object | None) -> Held | None:
    """Return the token of a Secret; None if it has no usable token, or no description of the token."""
    data = (secret or {}).get("data") or {}
    annotations = (secret or {"metadata": {}})["metadata"].get("annotations") or {}
    try:
        ca = data.get(CA_KEY)
        found = Held(
            token=base64.b64decode(data[TOKEN_KEY], validate=True).decode("ascii"),
            ca=base64.b64decode(ca, validate=True).decode() if ca else None,
            api_url=annotations[labels.GITHUB_API_URL],
            request=annotations[labels.GITHUB_REQUEST],
            rotated_at=datetime.fromisoformat(annotations[labels.ROTATED_AT]),
            expires_at=datetime.fromisoformat(annotations[labels.EXPIRES_AT]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    known = found.rotated_at.tzinfo and found.expires_at.tzinfo and found.api_url.startswith("https://")
    return found if found.token and known else None


async def write(
    r: Reconciliation[SwarmCluster], live: Object | None, app: GitHubApp, request: TokenRequest, minted: Minted
) -> Object:
    """Write a new token into the Secret, and return it.

    Raises:
        ConflictError: the Secret has changed since it was read.
        ApiError: it cannot be written.
    """
    annotations = {
        labels.EXPIRES_AT: rfc3339(minted.expires_at),
        labels.ROTATED_AT: rfc3339(r.clock.now()),
        labels.REPOSITORIES: ",".join(request.repositories) or "*",
        labels.GITHUB_API_URL: request.server.url,
        labels.GITHUB_REQUEST: digest(app),
    }
    data = {TOKEN_KEY: _encoded(minted.token), CA_KEY: _encoded(request.server.ca) if request.server.ca else None}
    if live is None:
        metadata = {
            "name": name(r.parsed),
            "namespace": swarm_namespace(r.parsed),
            "labels": labels.of_agents(r.parsed),
            "annotations": annotations,
        }
        body = {"metadata": metadata, "type": "Opaque", "data": {key: value for key, value in data.items() if value}}
        return await children.create_once(r, kinds.SECRET, body)
    identity = {"uid": live["metadata"]["uid"], "resourceVersion": live["metadata"]["resourceVersion"]}
    patch = {"metadata": {**identity, "annotations": annotations}, "data": data}
    return await r.client.merge(kinds.SECRET, *key_of(live), patch, field_manager=labels.FIELD_MANAGER)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
