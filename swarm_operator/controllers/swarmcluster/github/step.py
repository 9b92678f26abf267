"""Step that keeps a swarm's GitHub token: minted, renewed well before it expires, and revoked when it is not wanted."""

from __future__ import annotations

from typing import ClassVar, Final

import structlog

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.github import GitHubApp
from swarm_operator.controllers.common import finalizers, labels
from swarm_operator.controllers.common.errors import NameTakenError, explain
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmcluster.github import sources, token_secret
from swarm_operator.controllers.swarmcluster.github.api import Minted, TokenRequest
from swarm_operator.controllers.swarmcluster.github.calls import Calls
from swarm_operator.controllers.swarmcluster.github.errors import GitHubError
from swarm_operator.controllers.swarmcluster.github.revocation import FINALIZER, Revocations, revoke
from swarm_operator.controllers.swarmcluster.github.token_secret import Held
from swarm_operator.controllers.swarmcluster.namespaces import SwarmNamespace
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.errors import ApiError
from swarm_operator.runtime.resource import Key, Object, key_of

log = structlog.get_logger(__name__)

CONDITION: Final = "GitHubTokenReady"
"""Type of a condition of swarms that have a githubApp."""
_RETRY_INTERVAL: Final = 30.0
"""Seconds until Secrets that cannot be used are looked at again: they send no events."""
_CHECK_INTERVAL: Final = 300.0
"""Seconds until the next check of the token's Secret: it may have been deleted, or the clock may have jumped."""

Mints = Calls[TokenRequest, Minted]


class GitHubToken(Step[SwarmCluster]):
    """Ensure the Secret with a token of the cluster's githubApp, or that there is none.

    A failure stops nothing else. While the former token works, only the condition GitHubTokenReady reports the failure,
    and not Ready.

    Args:
        mints: mints tokens, out of passes.
        revocations: revokes them, out of passes.
    """

    condition: ClassVar = "Ready"
    needs: ClassVar = (SwarmNamespace,)

    def __init__(self, mints: Mints, revocations: Revocations) -> None:
        self._mints = mints
        self._revocations = revocations

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self._mints.forget(key)

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        app = r.parsed.spec.github_app
        if app is None:
            return await self._withdraw(r)
        await finalizers.add(r, FINALIZER)  # before there is a token that only a cleanup revokes
        try:
            live = await token_secret.read(r)
            held = token_secret.held(live)
            outcome = await self._ensure(r, app, live, held)
        except (ApiError, NameTakenError) as error:
            r.set_condition(CONDITION, failed(*explain(error)))
            raise
        return outcome

    async def _withdraw(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """End the token of a cluster that has no githubApp any more."""
        r.conditions.remove(CONDITION)
        if FINALIZER not in (r.obj["metadata"].get("finalizers") or ()):
            return done()
        self._mints.forget(key_of(r.obj))
        outcome = await revoke(r, self._revocations)
        if outcome.is_done:
            await finalizers.remove(r, FINALIZER)
        return outcome

    async def _ensure(
        self, r: Reconciliation[SwarmCluster], app: GitHubApp, live: Object | None, held: Held | None
    ) -> Outcome:
        key, now = key_of(r.obj), r.clock.now()
        left = held.seconds_left(r.parsed, app, now) if held else 0.0
        if held and left and not _rotation_asked(r):
            self._mints.forget(key)
            return _ready(r, held, left)
        try:
            request = await sources.token_request(r, app)
        except GitHubError as error:
            self._mints.forget(key)
            return _unready(r, held, error, _RETRY_INTERVAL)
        progress = self._mints.ask(key, request)
        if progress.answer is None:
            return _unready(r, held, progress.error, progress.delay)
        written = token_secret.held(await token_secret.write(r, live, app, request, progress.answer))
        self._mints.forget(key)
        if written is None or written.token != progress.answer.token:
            return _unready(r, held, None, _RETRY_INTERVAL)  # another client wrote the Secret in between
        log.info("a GitHub token was minted", cluster=str(key), expires_at=rfc3339(written.expires_at))
        await _rotation_done(r)
        return _ready(r, written, written.seconds_left(r.parsed, app, now))


def _ready(r: Reconciliation[SwarmCluster], held: Held, left: float) -> Outcome:
    _report(r, held)
    outcome = done("TokenValid", requeue_after=max(min(left, _CHECK_INTERVAL), 1.0))
    r.set_condition(CONDITION, outcome)
    return outcome


def _unready(r: Reconciliation[SwarmCluster], held: Held | None, error: GitHubError | None, delay: float) -> Outcome:
    """Return the outcome while a token is due, and report why there is none yet."""
    works = held is not None and held.works(r.clock.now())
    _report(r, held)
    if error is None and works:
        r.set_condition(CONDITION, done("TokenValid"))
        return done(requeue_after=delay)
    if error is None:
        outcome = waiting("MintingToken", "GitHub is asked for a token", requeue_after=delay)
    else:
        until = f"; the former token works until {rfc3339(held.expires_at)}" if held and works else ""
        outcome = failed(error.reason, f"{error}{until}", requeue_after=delay)
    r.set_condition(CONDITION, outcome)
    return done(requeue_after=delay) if works else outcome


def _report(r: Reconciliation[SwarmCluster], held: Held | None) -> None:
    known = {"expiresAt": rfc3339(held.expires_at), "rotatedAt": rfc3339(held.rotated_at)} if held else None
    r.status["githubToken"] = known


def _rotation_asked(r: Reconciliation[SwarmCluster]) -> bool:
    return (r.obj["metadata"].get("annotations") or {}).get(labels.ROTATE_TOKEN) == "true"


async def _rotation_done(r: Reconciliation[SwarmCluster]) -> None:
    """Remove the annotation that asked for a new token, unless the cluster has changed since it was read."""
    if not _rotation_asked(r):
        return
    metadata = r.obj["metadata"]
    identity = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    patch = {"metadata": {**identity, "annotations": {labels.ROTATE_TOKEN: None}}}
    r.obj = await r.client.merge(r.resource, *key_of(r.obj), patch, field_manager=labels.FIELD_MANAGER)
