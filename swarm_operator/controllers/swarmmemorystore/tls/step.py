"""Step that keeps a store's certificate valid, and publishes what its clients trust."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from cryptography import x509 as certificates

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed
from swarm_operator.controllers.swarmmemorystore.tls import removal, x509
from swarm_operator.controllers.swarmmemorystore.tls.authority import Authorities, Authority
from swarm_operator.controllers.swarmmemorystore.tls.names import (
    CA_FILE,
    ca_name,
    dns_names,
    own_secret_name,
    secret_name,
)
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object, key_of

CONDITION: Final = "CertificateReady"
"""Type of the condition of a store with TLS."""
_RENEWED_BEFORE: Final = x509.SERVER_LIFE / 3
_SPREAD: Final = x509.SERVER_LIFE / 12
"""The certificates of stores that were made together are renewed within this time, each at its own."""
_CHECK_INTERVAL: Final = 3600.0
"""Maximum seconds until the next check of the CA."""


@dataclass(frozen=True, slots=True)
class Certificate(Step[SwarmMemoryStore]):
    """Ensure the certificate, or check the user's, and ensure the ConfigMap with the CA certificates.

    An unusable certificate blocks no other step. Secrets are read in each pass and not watched.
    """

    owns: ClassVar = (kinds.CONFIG_MAP,)

    authority: Authority

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        if not r.parsed.is_secure:
            r.conditions.remove(CONDITION)
            return await removal.remove(r)
        outcome = await (self._automatic(r) if _is_automatic(r.parsed) else _of_user(r))
        r.set_condition(CONDITION, outcome)
        return done(requeue_after=outcome.requeue_after)

    async def _automatic(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        if not self.authority.namespace:
            return failed("NoAuthority", "the operator runs in no pod: start it with --operator-namespace")
        now = r.clock.now()
        authorities = await self.authority.current(r.client.server, now, r.clock.monotonic())
        # CA certificates are published before the certificate that they verify.
        await _publish(r, authorities.trusted, signed=True)
        secret = await children.create_once(r, kinds.SECRET, _new_secret(r.parsed, authorities, now))
        if _is_due(secret, r.parsed, authorities, now) and not secret["metadata"].get("deletionTimestamp"):
            secret = await _renew(r, secret, authorities, now)
        return _outcome(secret, r.parsed, now, _renewal(secret, r.parsed, now))


async def _of_user(r: Reconciliation[SwarmMemoryStore]) -> Outcome:
    """Return the outcome of the user's Secret, and publish its CA."""
    name = secret_name(r.parsed)
    try:
        secret = await r.client.server.get(kinds.SECRET, r.parsed.metadata.namespace, name)
    except NotFoundError:
        return failed("SecretMissing", f"there is no Secret {name} in the store's namespace")
    outcome = _outcome(secret, r.parsed, r.clock.now(), _CHECK_INTERVAL)
    authorities = _files(secret).get(CA_FILE, b"")
    # An expired certificate does not make its CA a bad one; what is no certificate would replace a good one.
    if outcome.reason not in {"CAMissing", "CertificateInvalid", "CertificateMissing", "KeyMissing"}:
        await _publish(r, authorities, signed=await removal.has_signed(r))
    return outcome


async def _publish(r: Reconciliation[SwarmMemoryStore], trusted: bytes, *, signed: bool) -> None:
    """Ensure the ConfigMap. `signed`: it names the Secret that the operator has signed, and deletes some day."""
    data = {CA_FILE: trusted.decode("ascii", "replace")}
    annotations = {labels.SIGNED: own_secret_name(r.parsed)} if signed else {}
    metadata = {"name": ca_name(r.parsed), "labels": labels.of_store(r.parsed), "annotations": annotations}
    await children.ensure(r, kinds.CONFIG_MAP, {"metadata": metadata, "data": data})


def _new_secret(store: SwarmMemoryStore, authorities: Authorities, now: datetime) -> Object:
    return {
        "metadata": {"name": secret_name(store), "labels": labels.of_store(store)},
        "type": "kubernetes.io/tls",
        "data": _data(store, authorities, now),
    }


async def _renew(
    r: Reconciliation[SwarmMemoryStore], secret: Object, authorities: Authorities, now: datetime
) -> Object:
    metadata = secret["metadata"]
    patch = {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "data": _data(r.parsed, authorities, now),
    }
    namespace, name = key_of(secret)
    renewed = await r.client.server.merge(kinds.SECRET, namespace, name, patch, field_manager=labels.FIELD_MANAGER)
    r.recorder.event(r.obj, "Normal", "CertificateRenewed", f"Secret {name} has a new certificate", action="Update")
    return renewed


def _data(store: SwarmMemoryStore, authorities: Authorities, now: datetime) -> dict[str, str]:
    pair = x509.sign(authorities.signing, dns_names(store), now)
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, CA_FILE: authorities.trusted}
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def _is_due(secret: Object, store: SwarmMemoryStore, authorities: Authorities, now: datetime) -> bool:
    """Return whether the certificate must be replaced: it is old or unusable, or no published CA has signed it."""
    files = _files(secret)
    try:
        certificate = x509.check(files, dns_names(store), now)
    except x509.BadCertificateError:
        return True
    return (
        certificate.not_valid_after_utc - now <= _RENEWED_BEFORE + _jitter(store)
        or not x509.is_signed_by(certificate, authorities.trusted)
        or files[CA_FILE] != authorities.trusted
    )


def _renewal(secret: Object, store: SwarmMemoryStore, now: datetime) -> float:
    """Return the seconds until the next look."""
    ends = certificates.load_pem_x509_certificate(_files(secret)["tls.crt"]).not_valid_after_utc
    return max(1.0, min((ends - _RENEWED_BEFORE - _jitter(store) - now).total_seconds(), _CHECK_INTERVAL))


def _jitter(store: SwarmMemoryStore) -> timedelta:
    """Return a time of the store's own, the same at each look."""
    digest = hashlib.sha256((store.metadata.uid or "").encode()).digest()
    return _SPREAD * (int.from_bytes(digest[:4]) / 2**32)


def _outcome(secret: Object, store: SwarmMemoryStore, now: datetime, check_after: float) -> Outcome:
    """Return the outcome of a Secret. A user's certificate needs the name of status.endpoints only."""
    name = secret["metadata"]["name"]
    names = dns_names(store)[: None if _is_automatic(store) else 1]
    try:
        certificate = x509.check(_files(secret), names, now)
    except x509.BadCertificateError as error:
        return failed(error.reason, f"Secret {name}: {error}", requeue_after=check_after)
    ends = certificate.not_valid_after_utc
    soonest = min(check_after, max(1.0, (ends - now).total_seconds()))
    message = f"the certificate of Secret {name} is valid until {rfc3339(ends)}"
    return done("Valid", message, requeue_after=soonest)


def _is_automatic(store: SwarmMemoryStore) -> bool:
    return store.spec.tls is not None and store.spec.tls.mode == "auto"


def _files(secret: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: base64.b64decode(value or "") for name, value in (secret.get("data") or {}).items()}
