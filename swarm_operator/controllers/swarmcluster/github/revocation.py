"""The end of a cluster's token: revoked at GitHub, then its Secret is deleted.

A server that does not answer blocks no deletion: after some tries the token is left to expire within the hour.
"""

from __future__ import annotations

from typing import Final

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.common import children, kinds
from swarm_operator.controllers.common.errors import NameTakenError
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, waiting
from swarm_operator.controllers.swarmcluster import placement
from swarm_operator.controllers.swarmcluster.github import token_secret
from swarm_operator.controllers.swarmcluster.github.api import Revocation, Server
from swarm_operator.controllers.swarmcluster.github.calls import Calls
from swarm_operator.controllers.swarmcluster.placement import DefaultNamespaces
from swarm_operator.runtime.errors import ForbiddenError
from swarm_operator.runtime.resource import Key, Object, key_of

FINALIZER: Final = "swarm.claudeflow.io/github-token"
"""Finalizer of clusters that may have a token."""
TRIES: Final = 3

Revocations = Calls[Revocation, bool]


class RevokeToken(Step[SwarmCluster]):
    """Revoke the token of a cluster that is being deleted."""

    def __init__(self, revocations: Revocations, defaults: DefaultNamespaces) -> None:
        self._revocations = revocations
        self._defaults = defaults

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        r.parsed = placement.complete(r.parsed, self._defaults)
        if FINALIZER not in (r.obj["metadata"].get("finalizers") or ()):
            return done()
        return await revoke(r, self._revocations)

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self._revocations.forget(key)


async def revoke(r: Reconciliation[SwarmCluster], revocations: Revocations) -> Outcome:
    """Bring the end of the cluster's token one step closer. The outcome is done when nothing is left to do."""
    key = key_of(r.obj)
    try:
        live = await token_secret.read(r)
        if live is not None:
            if progress := _progress(r, live, revocations):
                return progress
            await children.delete(r, kinds.SECRET, live)
    except NameTakenError:
        pass  # that Secret is not ours
    except ForbiddenError as error:
        _emit_event(r, f"the operator may not read or delete its Secret: {error.message}")
    revocations.forget(key)
    return done()


def _progress(r: Reconciliation[SwarmCluster], secret: Object, revocations: Revocations) -> Outcome | None:
    """Return the outcome to wait for; None if the token no longer works or cannot be revoked."""
    held = token_secret.held(secret)
    if held is None or not held.works(r.clock.now()):
        return None
    progress = revocations.ask(key_of(r.obj), Revocation(Server(held.api_url, held.ca), held.token))
    if progress.answer:
        return None
    if progress.error and progress.failures >= TRIES:
        _emit_event(r, f"{progress.error}; it expires at {held.expires_at:%Y-%m-%dT%H:%M:%SZ}")
        return None
    return waiting("RevokingToken", "the GitHub token is being revoked", requeue_after=progress.delay)


def _emit_event(r: Reconciliation[SwarmCluster], why: str) -> None:
    r.recorder.event(r.obj, "Warning", "TokenNotRevoked", f"The GitHub token was not revoked: {why}", action="Delete")
