"""TLS of stores against a real API server: certificates that the operator signs and renews, and the pod's mounts."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

import pytest
from cryptography import x509 as certificates

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.stats import Observer
from swarm_operator.controllers.swarmmemorystore.tls.x509 import is_signed_by
from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.clock import SystemClock
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.errors import InvalidError
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.manager import Manager

STORE = kinds.SWARM_MEMORY_STORE


class ShiftedClock(SystemClock):
    """The machine's clock, and days that a test has let pass."""

    days = 0

    def now(self):
        return super().now() + timedelta(days=self.days)

    def monotonic(self):
        return super().monotonic() + self.days * 86_400.0


@pytest.fixture
async def operator(admin, namespace):
    """The stores' reconciler in this process, with a clock that the test moves."""
    clock, stop = ShiftedClock(), asyncio.Event()
    cache, recorder = Cache(admin, namespaces=(namespace,)), EventRecorder(admin, controller="test", instance="test")
    reconciler = SwarmMemoryStoreReconciler(
        CachedClient(admin, cache),
        recorder,
        Observer("http://127.0.0.1:1"),
        "image",
        operator_namespace=namespace,
        clock=clock,
    )
    controller = Controller("tls", reconciler, cache)
    reconciler.set_up(controller)
    manager = Manager(cache)
    manager.add(recorder, controller)
    running = asyncio.create_task(manager.run(stop))
    yield clock
    stop.set()
    await running


async def test_auto_gives_a_store_all_that_it_and_its_clients_need_and_renews_it(operator, objects, eventually):
    await objects.store("s", tls={"mode": "auto"})
    condition = await eventually(lambda: objects.condition(STORE, "s", "CertificateReady"))
    assert (condition["status"], condition["reason"]) == ("True", "Valid")

    async def served():
        secret = await objects.get(kinds.SECRET, "s-tls")
        return certificates.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))

    async def published():
        return (await objects.get(kinds.CONFIG_MAP, "s-ca"))["data"]["ca.crt"].encode()

    first, ca = await served(), await published()
    assert is_signed_by(first, ca)
    owner = (await objects.get(kinds.SECRET, "s-tls"))["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("SwarmMemoryStore", "s")
    workload = await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"))
    pod = workload["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "certificate"]
    assert volume["secret"]["secretName"] == "s-tls"
    assert pod["containers"][0]["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    (grpc,) = [each for each in (await objects.get(kinds.SERVICE, "s"))["spec"]["ports"] if each["name"] == "grpc"]
    assert "appProtocol" not in grpc

    async def endpoint():
        return (await objects.get(STORE, "s"))["status"]["endpoints"]["http"].startswith("https://")

    await eventually(endpoint)

    # A change of the store causes a pass at once; without one it comes when the renewal is due.
    operator.days = 61
    await objects.store("s", tls={"mode": "auto"}, logLevel="warning")

    async def renewed():
        return (await served()).serial_number != first.serial_number

    await eventually(renewed)
    assert await published() == ca

    operator.days = 3 * 365 - 300
    await objects.store("s", tls={"mode": "auto"}, logLevel="info")

    async def successor():
        return len(certificates.load_pem_x509_certificates(await published())) == 2

    await eventually(successor)
    operator.days += 2
    await objects.store("s", tls={"mode": "auto"}, logLevel="debug")

    async def signed_by_successor():
        found = await served()
        return found.issuer != first.issuer and is_signed_by(found, await published())

    operator.days += 70
    await objects.store("s", tls={"mode": "auto"}, logLevel="error")
    await eventually(signed_by_successor)
    assert (await objects.get(kinds.STATEFUL_SET, "s"))["metadata"]["generation"] == 1, "the pod stays"

    await objects.store("s", tls={"mode": "off"})

    async def off():
        found = (await objects.get(STORE, "s"))["status"]
        template = (await objects.get(kinds.STATEFUL_SET, "s"))["spec"]["template"]["spec"]
        without = all(each["name"] != "certificate" for each in template["volumes"])
        return without and all(each["type"] != "CertificateReady" for each in found["conditions"])

    await eventually(off)


async def test_what_is_wrong_with_tls_is_refused(objects):
    for tls in ({"mode": "secret"}, {"mode": "auto", "secretName": "mine"}, {"secretName": "mine"}):
        with pytest.raises(InvalidError, match=r"spec.tls.secretName: .*must be given with mode secret, and only then"):
            await objects.store("s", tls=tls)
