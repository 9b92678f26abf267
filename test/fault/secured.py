"""Scenarios of a store with TLS and with access for service accounts: made, rotated, changed, and without both again.

The world is the API server whose signing keys rotate, and the time that passes over the CA.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509 as certificates
from fault.upkeep import NAME, STORE
from fault.world import Step, World, become_ready

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore.tls.authority import OVERLAP, SECRET_NAME
from swarm_operator.controllers.swarmmemorystore.tls.x509 import is_signed_by, new_ca
from swarm_operator.runtime.resource import Object
from swarm_operator.shared.service_accounts import FILE

SERVED, CA = f"{NAME}-tls", f"{NAME}-ca"
NEXT_KEY = {"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ", "kid": "next", "alg": "ES256"}


async def create(world: World) -> None:
    """A user makes a store with TLS, which the agents of another swarm may read."""
    rule = {"serviceAccount": {"name": "reviewer"}, "access": "read"}
    await _apply(world, tls={"mode": "auto"}, access=[rule])


async def break_certificate(world: World) -> None:
    """Somebody breaks the key of the certificate, and a user asks for another access."""
    world.kept["serial"] = str((await _certificate(world)).serial_number)
    broken = {"data": {"tls.key": base64.b64encode(b"broken").decode()}}
    await world.admin.merge(kinds.SECRET, world.namespace, SERVED, broken, field_manager="user")
    rule = {"serviceAccount": {"name": "reviewer"}, "access": "write"}
    await _apply(world, tls={"mode": "auto"}, access=[rule])


async def age_authority(world: World) -> None:
    """The CA has a successor that has been published for longer than the overlap. A user has the store looked at."""
    successor = new_ca("swarm-operator", datetime.now(UTC) - OVERLAP - timedelta(hours=1))
    files = {"next.crt": successor.certificate, "next.key": successor.key}
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    world.kept["issuer"] = successor.parsed().subject.rfc4514_string()
    await world.admin.merge(kinds.SECRET, world.namespace, SECRET_NAME, {"data": data}, field_manager="user")
    touched = {"metadata": {"annotations": {"touched": "yes"}}}
    await world.admin.merge(STORE, world.namespace, NAME, touched, field_manager="user")


async def serve_another_key(world: World) -> None:
    """The API server serves another key beside the first."""
    world.keys.append(NEXT_KEY)


async def take_own(world: World) -> None:
    """A user wants a certificate of theirs, whose Secret is not there yet."""
    await _apply(world, tls={"mode": "secret", "secretName": "mine"})


async def leave(world: World) -> None:
    """A user wants no TLS any more."""
    await _apply(world)


async def is_secure(world: World) -> bool:
    """Whether all is there that the pod and its clients need, and the status says so."""
    made, published = await _certificate(world), await _published(world)
    assert is_signed_by(made, published)
    return await _says(world, scheme="https", certificate="Valid")


async def has_another_certificate(world: World) -> bool:
    assert str((await _certificate(world)).serial_number) != world.kept["serial"]
    assert (await _identity(world))["accounts"][0]["access"] == "write"
    return await is_secure(world)


async def successor_signs(world: World) -> bool:
    assert (await _certificate(world)).issuer.rfc4514_string() == world.kept["issuer"]
    assert len(certificates.load_pem_x509_certificates(await _published(world))) == 2
    return await is_secure(world)


async def has_both_keys(world: World) -> bool:
    return NEXT_KEY["kid"] in {key["kid"] for key in (await _identity(world))["keys"]}


async def waits_for_own(world: World) -> bool:
    template = (await world.get(kinds.STATEFUL_SET, NAME))["spec"]["template"]["spec"]
    assert "mine" in [each["secret"]["secretName"] for each in template["volumes"] if each["name"] == "certificate"]
    return await _says(world, scheme="https", certificate="SecretMissing")


async def is_plain(world: World) -> bool:
    template = (await world.get(kinds.STATEFUL_SET, NAME))["spec"]["template"]["spec"]
    assert "certificate" not in [each["name"] for each in template["volumes"]]
    assert (await _identity(world))["accounts"] == []
    return await _says(world, scheme="http", certificate=None)


async def _says(world: World, *, scheme: str, certificate: str | None) -> bool:
    status = (await world.settled_store())["status"]
    told = {condition["type"]: condition["reason"] for condition in status["conditions"]}
    return status["endpoints"]["http"].startswith(f"{scheme}://") and told.get("CertificateReady") == certificate


async def _apply(world: World, **spec: Any) -> None:
    metadata = {"name": NAME, "namespace": world.namespace}
    spec = {"storageSize": "1Gi", "deletionPolicy": "Delete", **spec}
    body = {"apiVersion": STORE.api_version, "kind": STORE.kind, "metadata": metadata, "spec": spec}
    await world.admin.apply(STORE, body, field_manager="user")


async def _certificate(world: World) -> certificates.Certificate:
    data = (await world.get(kinds.SECRET, SERVED))["data"]
    return certificates.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))


async def _published(world: World) -> bytes:
    found: str = (await world.get(kinds.CONFIG_MAP, CA))["data"]["ca.crt"]
    return found.encode()


async def _identity(world: World) -> Object:
    found: Object = json.loads((await world.get(kinds.CONFIG_MAP, f"{NAME}-identity"))["data"][FILE])
    return found


LIFE: tuple[Step, ...] = (
    (create, is_secure),
    (become_ready, is_secure),
    (break_certificate, has_another_certificate),
    (age_authority, successor_signs),
    (serve_another_key, has_both_keys),
    (take_own, waits_for_own),
    (leave, is_plain),
)
