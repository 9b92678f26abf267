"""TLS of stores against a real API server: certificates that the operator signs and renews, and the pod's mounts."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509 as certificates

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.stats import Observer
from swarm_operator.controllers.swarmmemorystore.tls.x509 import is_signed_by, new_ca, sign
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
    cache = Cache(
        admin,
        namespaces=(namespace,),
        label_selector=labels.MANAGED,
        label_selectors=dict.fromkeys(kinds.CUSTOM_RESOURCES, ""),
    )
    recorder = EventRecorder(admin, controller="test", instance="test")
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


@pytest.fixture
def make_pod(objects):
    """Make a ready pod with one volume, as the StatefulSet's controller or a user and the kubelet do."""

    async def make(name, volume, **found):
        metadata = {"name": name, "namespace": objects.namespace, "labels": found}
        container = {"name": "c", "image": "i"}
        spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 0}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await objects.client.create(kinds.POD, pod, field_manager="test")
        await objects.status(kinds.POD, name, {"conditions": [{"type": "Ready", "status": "True"}]})

    return make


async def test_what_tls_has_made_is_deleted_when_no_pod_needs_it(operator, objects, eventually, make_pod, namespace):
    ca = new_ca("mine", datetime.now(UTC))
    pair = sign(ca, [f"s.{namespace}.svc"], datetime.now(UTC))
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": ca.certificate}
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": namespace}, "data": data}
    await objects.client.create(kinds.SECRET, secret, field_manager="user")
    await objects.store("s", tls={"mode": "auto"})
    await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"))

    async def published():
        return (await objects.get(kinds.CONFIG_MAP, "s-ca"))["metadata"]["annotations"]

    assert (await published())[labels.SIGNED] == "s-tls"
    await objects.store("s", tls={"mode": "secret", "secretName": "mine"})
    serving = {labels.MANAGED_BY: labels.FIELD_MANAGER, labels.STORE: "s"}
    await make_pod("s-0", {"name": "certificate", "secret": {"secretName": "mine"}}, **serving)
    await eventually(lambda: objects.missing(kinds.SECRET, "s-tls"))

    async def forgotten():
        return labels.SIGNED not in await published()

    await eventually(forgotten)
    await make_pod("client", {"name": "ca", "configMap": {"name": "s-ca"}})
    await objects.store("s", tls={"mode": "off"})
    await objects.delete(kinds.POD, "s-0")
    await eventually(lambda: objects.missing(kinds.POD, "s-0"))
    await make_pod("s-0", {"name": "data", "emptyDir": {}}, **serving)

    async def seen_by_the_operator(level):
        """Return whether a pass has looked at the store after the pod of now was ready."""
        await objects.store("s", tls={"mode": "off"}, logLevel=level)
        wanted = (await objects.get(STORE, "s"))["metadata"]["generation"]

        async def observed():
            return (await objects.get(STORE, "s"))["status"]["observedGeneration"] == wanted

        return await eventually(observed)

    await seen_by_the_operator("debug")
    assert not await objects.missing(kinds.CONFIG_MAP, "s-ca"), "the pod of a user mounts it"
    await objects.delete(kinds.POD, "client")
    await eventually(lambda: objects.missing(kinds.POD, "client"))
    await seen_by_the_operator("error")
    await eventually(lambda: objects.missing(kinds.CONFIG_MAP, "s-ca"))


async def test_what_is_wrong_with_tls_is_refused(objects):
    for tls in ({"mode": "secret"}, {"mode": "auto", "secretName": "mine"}, {"secretName": "mine"}):
        with pytest.raises(InvalidError, match=r"spec.tls.secretName: .*must be given with mode secret, and only then"):
            await objects.store("s", tls=tls)
