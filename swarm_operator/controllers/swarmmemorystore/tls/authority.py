"""The operator's CA: one Secret in the operator's own namespace, renewed before it expires.

A CA is renewed in two steps, so that no client gets a certificate whose CA it does not know. First a successor is made,
and all stores publish both. After OVERLAP the successor signs, and the former one stays published until it expires.
Both steps follow from the certificates' own times.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorystore.tls.x509 import CA_LIFE, KeyPair, new_ca
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.errors import ConflictError, NotFoundError
from swarm_operator.runtime.resource import Object

SECRET_NAME: Final = "swarm-operator-ca"  # noqa: S105 - a name
OVERLAP: Final = timedelta(days=1)
"""Time between the publication of a successor and its first signature. A kubelet updates a mounted ConfigMap within
minutes."""
_RENEWED_BEFORE: Final = CA_LIFE / 3
"""Time before a CA's end at which its successor is made."""
_NEXT_CERTIFICATE, _NEXT_KEY = "next.crt", "next.key"
_MAX_AGE: Final = 60.0
"""Seconds for which the Secret is not read again."""

log = structlog.get_logger(__name__)

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Authorities:
    """The CA that signs, and the certificates of all CAs that clients are to trust, in PEM."""

    signing: KeyPair
    trusted: bytes


@dataclass(slots=True)
class Authority:
    """The CA in its Secret."""

    namespace: str
    """The operator's namespace; empty if it does not run in a pod."""
    _known: Authorities | None = None
    _read_at: float = 0.0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self, client: Client, now: datetime, monotonic: float) -> Authorities:
        """Return the CA, which is made or renewed first if need be.

        Raises:
            ApiError: the Secret cannot be read or written.
        """
        async with self._turn:
            if self._known is None or monotonic - self._read_at >= _MAX_AGE:
                self._known = await self._read(client, now)
                self._read_at = monotonic
            return self._known

    async def _read(self, client: Client, now: datetime) -> Authorities:
        for _ in range(3):
            try:
                secret = await client.get(kinds.SECRET, self.namespace, SECRET_NAME)
            except NotFoundError:
                secret = None
            files = _decoded((secret or {}).get("data") or {})
            wanted = renewed(files, now)
            if wanted == files:
                return _authorities(wanted)
            try:
                await self._write(client, secret, wanted)
            except ConflictError:  # another replica was faster
                continue
            log.info("the CA has been renewed", secret=SECRET_NAME, namespace=self.namespace)
            return _authorities(wanted)
        raise ConflictError(f"Secret {SECRET_NAME} keeps changing", status=409)

    async def _write(self, client: Client, secret: Object | None, files: Files) -> None:
        data = {name: base64.b64encode(content).decode() for name, content in files.items()}
        if secret is None:
            ours = {labels.MANAGED_BY: labels.FIELD_MANAGER}
            metadata = {"name": SECRET_NAME, "namespace": self.namespace, "labels": ours}
            new = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
            await client.create(kinds.SECRET, new, field_manager=labels.FIELD_MANAGER)
            return
        # The version makes the server refuse the write if the Secret has changed since it was read.
        known = secret["metadata"]
        gone = dict.fromkeys((secret.get("data") or {}).keys() - data.keys())
        patch = {
            "metadata": {"uid": known["uid"], "resourceVersion": known["resourceVersion"]},
            "data": {**data, **gone},
        }
        await client.merge(kinds.SECRET, self.namespace, SECRET_NAME, patch, field_manager=labels.FIELD_MANAGER)


def renewed(files: Mapping[str, bytes], now: datetime) -> Files:
    """Return the wanted files of the Secret: unchanged, unless a renewal is due.

    Unreadable files are made again, and so is a CA that is not valid now.
    """
    signing = _pair(files, "tls.crt", "tls.key", now)
    successor = _pair(files, _NEXT_CERTIFICATE, _NEXT_KEY, now)
    if signing is None:
        signing, successor = successor or new_ca("swarm-operator", now), None
    if successor is None and signing.parsed().not_valid_after_utc - now < _RENEWED_BEFORE:
        successor = new_ca("swarm-operator", now)
    elif successor is not None and now - successor.parsed().not_valid_before_utc >= OVERLAP:
        signing, successor = successor, None
    found: Files = {"tls.crt": signing.certificate, "tls.key": signing.key}
    if successor is not None:
        found |= {_NEXT_CERTIFICATE: successor.certificate, _NEXT_KEY: successor.key}
    trusted = [signing.certificate, *([successor.certificate] if successor else ())]
    former = [pem for pem in _valid(files.get("ca.crt", b""), now) if pem not in trusted]
    return {**found, "ca.crt": b"".join([*former, *trusted])}


def _authorities(files: Files) -> Authorities:
    return Authorities(KeyPair(files["tls.crt"], files["tls.key"]), files["ca.crt"])


def _pair(files: Mapping[str, bytes], certificate: str, key: str, now: datetime) -> KeyPair | None:
    """Return a CA of the files that is valid now, or None. One of a clock that was ahead is not valid yet."""
    try:
        pair = KeyPair(files[certificate], files[key])
        public = pair.parsed().public_key()
        fits = serialization.load_pem_private_key(pair.key, None).public_key() == public
    except (KeyError, ValueError, TypeError):
        return None
    valid = pair.parsed().not_valid_before_utc <= now < pair.parsed().not_valid_after_utc
    return pair if fits and valid else None


def _valid(pem: bytes, now: datetime) -> list[bytes]:
    """Return the certificates that have not expired, each in PEM."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []
    return [each.public_bytes(serialization.Encoding.PEM) for each in found if each.not_valid_after_utc > now]


def _decoded(data: Mapping[str, str]) -> Files:
    return {name: base64.b64decode(value or "") for name, value in data.items()}
