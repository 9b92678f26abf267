"""SwarmMemoryStoreReconciler against a real API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.errors import InvalidError, NotFoundError
from swarm_operator.runtime.resource import Resource

WEBHOOKS = Resource(
    "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations",
    namespaced=False,
)  # fmt: skip
EVENTS = Resource("events.k8s.io", "v1", "Event", "events")
CHILDREN = (
    (kinds.PERSISTENT_VOLUME_CLAIM, "s-data"),
    (kinds.SECRET, "s-auth"),
    (kinds.SERVICE, "s"),
    (kinds.SERVICE, "s-headless"),
    (kinds.STATEFUL_SET, "s"),
    (kinds.NETWORK_POLICY, "s"),
    (kinds.POD_DISRUPTION_BUDGET, "s"),
)


async def children(objects) -> list[dict]:
    return [await objects.get(resource, name) for resource, name in CHILDREN]


async def settled(objects, eventually, name: str = "s") -> None:
    """Wait until the operator has judged the newest spec."""

    async def observed() -> bool:
        store = await objects.get(kinds.SWARM_MEMORY_STORE, name)
        return store["status"]["observedGeneration"] == store["metadata"]["generation"]

    await eventually(observed)


async def test_a_store_gets_its_children_and_owns_them(objects, start_operator, eventually):
    start_operator()
    store = await objects.store("s", storageSize="2048Mi", storageClass="fast", deletionPolicy="Delete")
    await settled(objects, eventually)
    for child in await children(objects):
        (owner,) = child["metadata"]["ownerReferences"]
        assert owner["uid"] == store["metadata"]["uid"]
        assert owner["controller"] is True
    claim = await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-data")
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    ready = await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "WaitingForPod")


async def test_what_is_not_known_is_absent_and_never_zero(objects, start_operator, eventually):
    start_operator()
    await objects.store("s")
    await settled(objects, eventually)
    status = (await objects.get(kinds.SWARM_MEMORY_STORE, "s"))["status"]
    assert status["phase"] == "Initializing"
    assert not status.keys() & {"entryCount", "databaseSize", "agentCount", "cacheHitRate", "lastBackup"}


async def test_a_ready_pod_makes_the_store_ready_with_the_services_own_numbers(
    objects, start_operator, eventually, memory_service, memory_port
):
    from swarm_operator.controllers.swarmmemorystore.auth import token_of
    from swarm_operator.memory.client import MemoryClient

    start_operator("--memory-url", f"http://127.0.0.1:{memory_port}", "--status-interval", "0.2")
    await objects.store("s")
    await settled(objects, eventually)
    secret = await objects.get(kinds.SECRET, "s-auth")
    memory_service(secret["data"], memory_port)
    async with MemoryClient(f"http://127.0.0.1:{memory_port}", token=token_of(secret), retries=20) as memory:
        await memory.put("swarm:agents", "agent:1", {"name": "one"})
        await memory.put("demo", "k", None)
    await objects.pretend_ready("s")

    async def counted() -> bool:
        status = (await objects.get(kinds.SWARM_MEMORY_STORE, "s"))["status"]
        return status["phase"] == "Ready" and (status["entryCount"], status["agentCount"]) == (2, 1)

    await eventually(counted)
    status = (await objects.get(kinds.SWARM_MEMORY_STORE, "s"))["status"]
    assert status["databaseSize"] > 0
    assert status["taskCount"] == 0
    assert status["endpoints"]["http"] == f"http://s.{objects.namespace}.svc:8080"
    assert status["endpoints"]["mcp"] == f"http://s.{objects.namespace}.svc:8080/mcp"


async def test_a_store_as_wanted_is_looked_at_again_and_again_without_a_write(
    objects, start_operator, eventually, memory_service, memory_port
):
    operator = start_operator("--memory-url", f"http://127.0.0.1:{memory_port}", "--status-interval", "0.1")
    await objects.store("s")
    await settled(objects, eventually)
    memory_service((await objects.get(kinds.SECRET, "s-auth"))["data"], memory_port)
    await objects.pretend_ready("s")

    async def ready() -> bool:
        return "entryCount" in (await objects.get(kinds.SWARM_MEMORY_STORE, "s"))["status"]

    await eventually(ready)
    reconciles = 'controller_runtime_reconcile_total{controller="swarmmemorystore",result="requeue_after"}'
    # The hit rate appears with the first read and the events of the last change are still on their way: let both pass.
    seen = {"writes": -1.0, "reconciles": 0.0}

    async def quiet_for_50_reconciles() -> bool:
        writes, count = operator.writes(), operator.metric(reconciles)
        if writes != seen["writes"]:
            seen.update(writes=writes, reconciles=count)
        return count - seen["reconciles"] >= 50

    await eventually(quiet_for_50_reconciles)
    before = [child["metadata"]["resourceVersion"] for child in await children(objects)]
    await eventually(quiet_for_50_reconciles)
    assert [child["metadata"]["resourceVersion"] for child in await children(objects)] == before


async def test_what_others_change_or_delete_is_put_back(objects, start_operator, eventually):
    start_operator()
    await objects.store("s")
    await settled(objects, eventually)
    service = await objects.get(kinds.SERVICE, "s")
    await objects.client.delete(kinds.SERVICE, objects.namespace, "s", uid=service["metadata"]["uid"])
    patch = {"spec": {"replicas": 3}}
    await objects.client.merge(kinds.STATEFUL_SET, objects.namespace, "s", patch, field_manager="somebody")

    async def put_back() -> bool:
        replicas = (await objects.get(kinds.STATEFUL_SET, "s"))["spec"]["replicas"]
        return (
            replicas == 1 and (await objects.get(kinds.SERVICE, "s"))["metadata"]["uid"] != service["metadata"]["uid"]
        )

    await eventually(put_back)


async def test_what_others_add_is_left_alone(objects, start_operator, eventually):
    operator = start_operator("--status-interval", "0.2")
    await objects.store("s")
    await settled(objects, eventually)
    patch = {"metadata": {"annotations": {"their/note": "x"}, "labels": {"team": "blue"}}}
    await objects.client.merge(kinds.STATEFUL_SET, objects.namespace, "s", patch, field_manager="somebody")
    await objects.store("s", enableWAL=False)

    async def applied() -> bool:
        (container,) = (await objects.get(kinds.STATEFUL_SET, "s"))["spec"]["template"]["spec"]["containers"]
        return {"name": "ENABLE_WAL", "value": "false"} in container["env"]

    await eventually(applied)
    metadata = (await objects.get(kinds.STATEFUL_SET, "s"))["metadata"]
    assert metadata["annotations"]["their/note"] == "x"
    assert metadata["labels"]["team"] == "blue"
    assert operator.process.poll() is None


@pytest.mark.parametrize(
    ("mode", "size"), [("ReadWriteMany", "1Gi"), ("ReadWriteOnce", "10Gi")], ids=["other", "equal"]
)
async def test_an_object_of_somebody_else_is_never_taken_over(objects, start_operator, eventually, mode, size):
    """Equal values are the hard case: server-side apply sees no conflict in them."""
    theirs = await objects.apply(
        kinds.PERSISTENT_VOLUME_CLAIM,
        "s-data",
        {"accessModes": [mode], "resources": {"requests": {"storage": size}}},
        manager="somebody",
    )
    start_operator()
    await objects.store("s")

    async def said() -> bool:
        ready = await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "Ready")
        return ready["reason"] == "NameTaken" and "PersistentVolumeClaim s-data" in ready["message"]

    await eventually(said)
    claim = await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-data")
    assert claim["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    assert await objects.missing(kinds.STATEFUL_SET, "s")


async def test_a_secret_that_exists_keeps_its_tokens(objects, start_operator, eventually):
    operator = start_operator()
    await objects.store("s")
    await settled(objects, eventually)
    tokens = (await objects.get(kinds.SECRET, "s-auth"))["data"]
    operator.kill()
    operator.start()
    await objects.store("s", cacheSize=8)
    await settled(objects, eventually)
    assert (await objects.get(kinds.SECRET, "s-auth"))["data"] == tokens
    assert len(tokens["client-token"]) >= 43
    assert tokens["client-token"] != tokens["admin-token"]
    log = operator.log.read_text()
    assert not [value for value in tokens.values() if value in log]


async def test_a_token_that_a_secret_has_lost_is_made_anew(objects, start_operator, eventually):
    """The operator's Role is enough for that."""
    start_operator()
    await objects.store("s")
    await settled(objects, eventually)
    before = (await objects.get(kinds.SECRET, "s-auth"))["data"]
    lost = {"data": {"client-token": None}}
    await objects.client.merge(kinds.SECRET, objects.namespace, "s-auth", lost, field_manager="test")

    async def repaired() -> bool:
        return "client-token" in (await objects.get(kinds.SECRET, "s-auth"))["data"]

    await eventually(repaired)
    after = (await objects.get(kinds.SECRET, "s-auth"))["data"]
    assert after["admin-token"] == before["admin-token"]
    assert after["client-token"] != before["client-token"]


async def test_a_growth_that_is_refused_can_be_taken_back_and_freezes_nothing(objects, start_operator, eventually):
    operator = start_operator()
    await objects.store("s", storageSize="1Gi")
    await settled(objects, eventually)
    bound = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    await objects.status(kinds.PERSISTENT_VOLUME_CLAIM, "s-data", bound)

    async def known() -> bool:
        return (await objects.get(kinds.SWARM_MEMORY_STORE, "s"))["status"].get("storageCapacity") == "1Gi"

    await eventually(known)
    # The claim has no class that allows it to grow.
    await objects.store("s", storageSize="2Gi", enableWAL=False)
    await settled(objects, eventually)
    told = await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "StorageReady")
    assert (told["status"], told["reason"]) == ("False", "ResizeRefused")
    assert (await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "Ready"))["reason"] == "WaitingForPod"
    (container,) = (await objects.get(kinds.STATEFUL_SET, "s"))["spec"]["template"]["spec"]["containers"]
    assert {"name": "ENABLE_WAL", "value": "false"} in container["env"]
    before = operator.writes()
    with pytest.raises(InvalidError, match="can only grow"):
        await objects.store("s", storageSize="1023Mi", enableWAL=False)
    await objects.store("s", storageSize="1Gi", enableWAL=False)
    await settled(objects, eventually)
    assert (await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "StorageReady"))["reason"] == "Bound"
    assert operator.writes() - before <= 6


async def test_a_volume_outlives_its_store_and_serves_the_next(objects, start_operator, eventually):
    start_operator()
    first = await objects.store("s", storageSize="1Gi", deletionPolicy="Retain")
    await settled(objects, eventually)
    claim = await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-data")
    assert "ownerReferences" not in claim["metadata"]
    await objects.client.delete(kinds.SWARM_MEMORY_STORE, objects.namespace, "s", uid=first["metadata"]["uid"])
    for resource, name in CHILDREN[1:]:  # there is no garbage collector here
        child = await objects.get(resource, name)
        await objects.client.delete(resource, objects.namespace, name, uid=child["metadata"]["uid"])
    second = await objects.store("s", storageSize="1Gi", deletionPolicy="Delete")
    await settled(objects, eventually)
    again = await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-data")
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]
    (owner,) = again["metadata"]["ownerReferences"]
    assert owner["uid"] == second["metadata"]["uid"]
    await objects.store("s", storageSize="1Gi", deletionPolicy="Retain")
    await settled(objects, eventually)
    assert "ownerReferences" not in (await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-data"))["metadata"]


async def test_a_claim_that_somebody_deletes_is_not_replaced(objects, start_operator, eventually):
    start_operator()
    await objects.store("s", storageSize="1Gi")
    await settled(objects, eventually)
    claim = await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-data")
    # The finalizer pvc-protection keeps it as long as a pod might use it; a controller takes that away.
    await objects.client.delete(
        kinds.PERSISTENT_VOLUME_CLAIM, objects.namespace, "s-data", uid=claim["metadata"]["uid"]
    )

    def says(reason: str) -> Callable[[], Awaitable[bool]]:
        async def said() -> bool:
            ready = await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "Ready")
            return ready["reason"] == reason

        return said

    await eventually(says("VolumeTerminating"))
    workload = await objects.get(kinds.STATEFUL_SET, "s")
    await objects.store("s", storageSize="1Gi", enableWAL=False)
    await settled(objects, eventually)
    unchanged = (await objects.get(kinds.STATEFUL_SET, "s"))["metadata"]
    assert unchanged["resourceVersion"] == workload["metadata"]["resourceVersion"]
    patch = {"metadata": {"finalizers": []}}
    await objects.client.merge(
        kinds.PERSISTENT_VOLUME_CLAIM, objects.namespace, "s-data", patch, field_manager="controller"
    )
    await eventually(says("VolumeLost"))
    assert await objects.missing(kinds.PERSISTENT_VOLUME_CLAIM, "s-data")
    await objects.store("s", storageSize="1Gi", onVolumeLoss="StartEmpty")
    await eventually(says("WaitingForPod"))
    new = await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-data")
    assert new["metadata"]["uid"] != claim["metadata"]["uid"]


@pytest.fixture
async def webhook_that_is_down(objects):
    """Nobody answers the webhook that judges Services in the test's namespace."""
    here = {"matchLabels": {"kubernetes.io/metadata.name": objects.namespace}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["services"]}
    webhook = {
        "name": "down.example.com",
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "namespaceSelector": here,
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    metadata = {"name": objects.namespace}
    body = {"apiVersion": WEBHOOKS.api_version, "kind": WEBHOOKS.kind, "metadata": metadata, "webhooks": [webhook]}
    made = await objects.client.create(WEBHOOKS, body, field_manager="test")

    async def remove() -> None:
        await objects.client.delete(WEBHOOKS, "", objects.namespace, uid=made["metadata"]["uid"])

    yield remove
    with contextlib.suppress(NotFoundError):
        await remove()


async def test_a_webhook_that_is_down_is_told(objects, webhook_that_is_down, start_operator, eventually):
    start_operator()
    await objects.store("s")

    async def told() -> bool:
        ready = await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "Ready")
        return ready["reason"] == "RequestFailed" and "down.example.com" in ready["message"]

    await eventually(told)
    assert await objects.get(kinds.STATEFUL_SET, "s"), "the webhook does not judge it"
    await webhook_that_is_down()

    async def made() -> bool:
        ready = await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "Ready")
        return ready["reason"] == "WaitingForPod" and bool(await objects.get(kinds.SERVICE, "s"))

    await eventually(made, seconds=60)


async def test_services_that_never_answer_hold_up_no_other_store(objects, start_operator, eventually):
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        start_operator("--memory-url", f"http://127.0.0.1:{port}")
        names = [f"s{number}" for number in range(40)]
        for name in names:
            await objects.store(name)
        for name in names:
            await settled(objects, eventually, name)
            await objects.pretend_ready(name)

        async def asked() -> bool:
            told = [await objects.condition(kinds.SWARM_MEMORY_STORE, name, "Reachable") for name in names]
            return any(condition["reason"] == "NoAnswer" for condition in told)

        await eventually(asked)
        await objects.store("new")

        async def has_children() -> bool:
            return bool(await objects.get(kinds.STATEFUL_SET, "new"))

        # One poll takes 5 s: had reconciles to wait for them, this would take ten times as long.
        await eventually(has_children, seconds=5)


CORE_EVENTS = Resource("", "v1", "Event", "events")


async def tell(objects, about: dict, source: str, reason: str, message: str, **fields) -> None:
    """Be the controller of a kind: write an event as those of Kubernetes do, in the older API."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = about["metadata"]
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": objects.namespace},
        "involvedObject": {
            **{key: about[key] for key in ("apiVersion", "kind")},
            **{key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
        },
        "reason": reason,
        "message": message,
        "type": "Warning",
        "source": {"component": source},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        **fields,
    }
    await objects.client.create(CORE_EVENTS, body, field_manager="test")


def says(objects, condition: str, reason: str, text: str = "") -> Callable[[], Awaitable[bool]]:
    """Whether a condition of the store has a reason, and a message with a text in it."""

    async def said() -> bool:
        found = await objects.condition(kinds.SWARM_MEMORY_STORE, "s", condition)
        return found["reason"] == reason and text in found["message"]

    return said


async def test_a_pod_that_a_quota_refuses_is_told(objects, start_operator, eventually):
    start_operator()
    await objects.store("s")
    await settled(objects, eventually)
    workload = await objects.get(kinds.STATEFUL_SET, "s")
    note = 'create Pod s-0 in StatefulSet s failed error: pods "s-0" is forbidden: exceeded quota: q'
    await tell(objects, workload, "statefulset-controller", "FailedCreate", note)
    await eventually(says(objects, "Ready", "FailedCreate", note))
    await tell(objects, workload, "statefulset-controller", "SuccessfulCreate", "create Pod s-0", type="Normal")
    await eventually(says(objects, "Ready", "WaitingForPod"))


async def test_a_class_that_does_not_exist_is_told(objects, start_operator, eventually):
    start_operator()
    await objects.store("s", storageClass="fast")
    await settled(objects, eventually)
    claim = await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "s-data")
    note = 'storageclass.storage.k8s.io "fast" not found'
    await tell(objects, claim, "persistentvolume-controller", "ProvisioningFailed", note)
    for condition in ("StorageReady", "Ready"):
        await eventually(says(objects, condition, "StorageClassMissing", "spec.storageClass"))


async def test_tokens_are_checked_and_lost_ones_made_anew(objects, start_operator, eventually):
    start_operator()
    await objects.store("s")
    await eventually(says(objects, "AuthReady", "TokensValid"))
    before = (await objects.get(kinds.SECRET, "s-auth"))["data"]

    async def patch(data: dict) -> None:
        await objects.client.merge(kinds.SECRET, objects.namespace, "s-auth", data, field_manager="somebody")

    mistake = '{"tokens": [{"name": "a", "token": "SECRETSECRETSECRET", "access": "admin"}]}'
    await patch({"stringData": {"tokens.json": mistake}})
    place = "Secret s-auth: tokens.json: tokens[0].access: read or write is allowed"
    await eventually(says(objects, "AuthReady", "TokensInvalid", place))
    await patch({"data": {"tokens.json": None, "client-token": None}})
    await eventually(says(objects, "AuthReady", "TokensValid"))
    after = (await objects.get(kinds.SECRET, "s-auth"))["data"]
    assert after["admin-token"] == before["admin-token"]
    assert after["client-token"] not in {"", before["client-token"]}
    secret = await objects.get(kinds.SECRET, "s-auth")
    await objects.client.delete(kinds.SECRET, objects.namespace, "s-auth", uid=secret["metadata"]["uid"])
    await eventually(lambda: objects.get(kinds.SECRET, "s-auth"))


async def test_a_name_that_is_taken_leaves_no_condition_out(objects, start_operator, eventually):
    spec = {"ports": [{"port": 1}]}
    for name in ("s", "s-headless"):
        await objects.apply(kinds.SERVICE, name, spec, manager="somebody")
    await objects.apply(
        kinds.PERSISTENT_VOLUME_CLAIM,
        "s-data",
        {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
        manager="somebody",
    )
    start_operator()
    await objects.store("s")
    await eventually(says(objects, "Ready", "NameTaken"))
    status = (await objects.get(kinds.SWARM_MEMORY_STORE, "s"))["status"]
    assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
        "Ready": ("False", "NameTaken"),
        "Stalled": ("True", "NameTaken"),
        "StorageReady": ("Unknown", "Pending"),
        "AuthReady": ("True", "TokensValid"),
        "IdentityReady": ("True", "KeysPublished"),
        "Reachable": ("Unknown", "Pending"),
        "Writable": ("Unknown", "Pending"),
        "SettingsApplied": ("Unknown", "Pending"),
        "SpaceAvailable": ("Unknown", "Pending"),
    }
