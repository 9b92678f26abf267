"""The cluster's keys for a store, and who may use it."""

import asyncio
import dataclasses
import random

import pytest
from unit.controllers.swarmmemorystore.conftest import KEY, STORE

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore.identity.cluster_keys import INTERVAL, RETENTION, KeySource
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.errors import ForbiddenError, NotFoundError, ServerError, UnreachableError
from swarm_operator.runtime.manager import Manager
from swarm_operator.runtime.resource import Key
from swarm_operator.shared.service_accounts import parse

DISCOVERY, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"
MAP = Key("ns", "bees-identity")
K1 = {"kty": "EC", "kid": "k1", "alg": "ES256", "x": "eA", "y": "eQ", "crv": "P-256"}
K2 = K1 | {"kid": "k2"}


@pytest.fixture
def published(cache):
    """What the store's service reads."""

    def read():
        found = cache.get(kinds.CONFIG_MAP, MAP)
        return None if found is None else parse(found["data"]["service-accounts.json"].encode())

    return read


@pytest.fixture
def look(reconciler):
    """Looks at the API server's keys as after the interval; returns whether all stores were enqueued."""

    async def looking():
        told = []
        reconciler.keys.changed = lambda: told.append(1)
        await reconciler.keys.look()
        return bool(told)

    return looking


async def test_the_service_gets_the_keys_and_the_access_of_the_spec(become, published, condition, cache):
    await become(
        access=[
            {"serviceAccount": {"name": "agent"}, "access": "write"},
            {"serviceAccount": {"name": "reviewer", "namespace": "tools"}, "access": "read", "memoryNamespaces": ["a"]},
        ]
    )
    found = published()
    assert (found.issuer, found.keys) == ("https://cluster.example.com", {"k1": K1})
    assert found.accounts == {("ns", "agent"): (True, None), ("tools", "reviewer"): (False, ("a",))}
    assert (condition("IdentityReady")["status"], condition("IdentityReady")["reason"]) == ("True", "KeysPublished")
    pod = cache.get(kinds.STATEFUL_SET, KEY)["spec"]["template"]["spec"]
    source = {"name": MAP.name, "defaultMode": 0o444, "optional": True}
    assert {"name": "identity", "configMap": source} in pod["volumes"]
    (container,) = pod["containers"]
    (file,) = [each["value"] for each in container["env"] if each["name"] == "SERVICE_ACCOUNTS"]
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "identity"]
    assert file == f"{mount['mountPath']}/service-accounts.json"


async def test_by_default_nobody_has_access(become, published):
    await become()
    assert published().accounts == {}


async def test_another_access_changes_the_file_and_no_pod(become, published, cache):
    await become()
    before = cache.get(kinds.STATEFUL_SET, KEY)["metadata"]["generation"]
    await become(access=[{"serviceAccount": {"name": "agent"}, "access": "read"}])
    assert published().accounts == {("ns", "agent"): (False, None)}
    assert cache.get(kinds.STATEFUL_SET, KEY)["metadata"]["generation"] == before


async def test_a_rotated_key_is_published_and_the_former_one_is_kept_for_a_while(
    become, reconcile, published, look, client, clock
):
    await become()
    client.documents[KEYS] = {"keys": [K2]}
    assert await look(), "all stores are looked at"
    await reconcile()
    assert set(published().keys) == {"k1", "k2"}
    clock.advance(RETENTION - 1)
    assert not await look()
    clock.advance(2)
    assert await look()
    await reconcile()
    assert set(published().keys) == {"k2"}


async def test_api_servers_that_answer_with_different_keys_cause_no_writes(become, reconcile, look, client, reconciler):
    await become()
    client.documents[KEYS] = {"keys": [K2, K1]}
    await look()
    await reconcile()
    client.requests.clear()
    for served in ([K1], [K1, K2], [K2]):
        client.documents[KEYS] = {"keys": served}
        assert not await look()
        await reconcile()
    reconciler.keys._seen.clear()  # as after a restart, whose first answer has them in another order
    client.documents[KEYS] = {"keys": [K2, K1]}
    await look()
    await reconcile()
    assert client.writes() == []


async def test_no_private_member_of_a_key_is_published(become, published, client):
    client.documents[KEYS] = {"keys": [K1 | {"d": "secret", "more": 1}, {"kty": "EC"}, "text"]}
    await become()
    assert published().keys == {"k1": K1}


async def test_a_key_that_no_service_knows_does_not_concern_the_others(become, published, client):
    client.documents[KEYS] = {"keys": [{"kty": "AKP", "kid": "k0", "alg": "ML-DSA-44"}, K1, {"kty": 1, "kid": "k3"}]}
    await become()
    assert published().keys == {"k1": K1}


@pytest.mark.parametrize(
    ("path", "answer", "reason", "message"),
    [
        (DISCOVERY, NotFoundError("not found", status=404), "KeysNotServed", "an issuer with https"),
        (DISCOVERY, {}, "KeysNotServed", "has no issuer"),
        (KEYS, {"keys": None}, "KeysNotServed", "no keys"),
        (KEYS, {"keys": [{"kty": "oct", "kid": "k0"}]}, "KeysNotServed", "no keys"),
        (KEYS, ForbiddenError("may not", status=403), "Forbidden", "may not"),
        (KEYS, ServerError("broken", status=500), "RequestFailed", "broken"),
    ],
)
async def test_without_keys_everything_else_goes_on(
    become, reconcile, published, condition, look, client, cache, path, answer, reason, message
):
    good, client.documents[path] = client.documents[path], answer
    await become()
    told = condition("IdentityReady")
    assert (told["status"], told["reason"]) == ("False", reason)
    assert message in told["message"]
    assert published() is None
    assert cache.get(kinds.STATEFUL_SET, KEY)
    client.documents[path] = good
    assert await look()
    await reconcile()
    assert condition("IdentityReady")["reason"] == "KeysPublished"
    assert published().keys


async def test_keys_stay_while_they_cannot_be_read(become, reconcile, published, condition, look, client):
    await become()
    for path in (DISCOVERY, KEYS):
        client.documents[path] = UnreachableError("away")
        assert not await look()
    client.requests.clear()
    await reconcile()
    assert client.writes() == []
    assert (set(published().keys), condition("IdentityReady")["status"]) == ({"k1"}, "True")


async def test_an_api_server_that_is_away_at_the_start_changes_no_status(seen, store_object, reconciler, client):
    seen(STORE, store_object())
    client.documents[KEYS] = UnreachableError("away")
    with pytest.raises(UnreachableError):
        await reconciler.reconcile(KEY)
    assert not [request for request in client.writes() if request[0] == "apply status"]
    client.documents[KEYS] = {"keys": [K1]}
    await reconciler.reconcile(KEY)
    assert [request for request in client.writes() if request[:2] == ("apply", "ConfigMap")]


async def test_all_stores_ask_once(clock):
    asked, go = [], asyncio.Event()

    class Server:
        async def request(self, method, path, **_):
            asked.append((method, path))
            await go.wait()
            return {DISCOVERY: {"issuer": "https://i"}, KEYS: {"keys": [K1]}}[path]

    source = KeySource(Server(), monotonic=clock.monotonic, rng=random.Random(1))
    waiting = [asyncio.create_task(source.current()) for _ in range(3)]
    await asyncio.sleep(0)
    go.set()
    assert {(await each).issuer for each in (*waiting, asyncio.create_task(source.current()))} == {"https://i"}
    assert asked == [("GET", DISCOVERY), ("GET", KEYS)]
    due = source._timer.when() - asyncio.get_running_loop().time()
    assert 0.8 * INTERVAL < due <= 1.1 * INTERVAL


async def test_keys_are_not_read_after_the_manager_stopped(clock, client):
    asked = asyncio.Event()

    class Server:
        async def request(self, method, path, **_):
            asked.set()
            await asyncio.Event().wait()

    for server, begin in ((client, lambda source: source.current()), (Server(), lambda _: asked.wait())):
        source, stop = KeySource(server, monotonic=clock.monotonic, rng=random.Random(1)), asyncio.Event()
        manager = Manager(Cache(server))
        manager.add(source)
        running = asyncio.create_task(manager.run(stop))
        looking = source.look()
        await begin(source)
        stop.set()
        await running
        assert looking.done()
        assert source._timer is None or source._timer.cancelled()
        assert source._looking is None


async def test_an_operator_that_cannot_read_the_keys_leaves_what_was_published(
    become, reconciler, published, condition, client
):
    await become()
    reconciler.keys._known = None  # as after a restart
    client.documents[KEYS] = ForbiddenError("may not", status=403)
    await become(access=[{"serviceAccount": {"name": "agent"}, "access": "read"}])
    told = condition("IdentityReady")
    assert (told["status"], told["reason"]) == ("True", "KeysStale")
    assert "may not" in told["message"]
    assert (set(published().keys), published().accounts) == ({"k1"}, {})


def pod(image, *volumes):
    spec = {"containers": [{"name": "memory", "image": image}], "volumes": [{"name": name} for name in volumes]}
    return {"metadata": {"name": "bees-0", "namespace": "ns", "uid": "p"}, "spec": spec}


OURS, PINNED = "registry/swarm-memory:v1", "registry/swarm-memory:v0"


async def test_a_pod_of_before_has_no_keys(become, reconcile, condition, seen):
    await become()
    seen(kinds.POD, pod(OURS, "data"))
    await reconcile()
    assert (condition("IdentityReady")["status"], condition("IdentityReady")["reason"]) == ("False", "WaitingForPod")
    seen(kinds.POD, pod(OURS, "data", "identity"))
    await reconcile()
    assert condition("IdentityReady")["reason"] == "KeysPublished"


async def test_a_pinned_image_says_itself_whether_it_verifies_tokens(
    become, reconcile, condition, seen, ready, observer, numbers, clock, recorder
):
    await become(version="v0")
    seen(kinds.POD, pod(PINNED, "identity"))
    await reconcile()
    told = condition("IdentityReady")
    assert (told["status"], told["reason"]) == ("Unknown", "WaitingForService")
    assert PINNED in told["message"]
    ready()
    observer.answer = numbers
    numbers.stats.features = frozenset()
    await reconcile()
    told = condition("IdentityReady")
    assert (told["status"], told["reason"]) == ("False", "ReleaseTooOld")
    assert PINNED in told["message"]
    assert condition("Ready")["status"] == "True", "everything else works"
    numbers.stats.features = frozenset({"service-account-tokens"})
    observer.answer = dataclasses.replace(numbers)
    clock.advance(60)
    await reconcile()
    assert (condition("IdentityReady")["status"], condition("IdentityReady")["reason"]) == ("True", "KeysPublished")


@pytest.mark.parametrize(("is_ready", "kept"), [("True", True), ("False", False)])
@pytest.mark.parametrize(
    ("features", "told"), [(frozenset({"service-account-tokens"}), "True"), (frozenset(), "False")]
)
async def test_an_answer_to_the_former_operator_stays_while_the_pod_is_ready(
    become, reconcile, reconciler, condition, seen, ready, observer, numbers, is_ready, kept, features, told
):
    numbers.stats.features = features
    observer.answer = numbers
    made = pod(PINNED, "identity") | {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await become(version="v0")
    ready()
    seen(kinds.POD, made)
    await reconcile()
    assert condition("IdentityReady")["status"] == told
    reconciler.poller.forget(KEY)
    seen(kinds.POD, made | {"status": {"conditions": [{"type": "Ready", "status": is_ready}]}})
    await reconciler.reconcile(KEY)
    assert condition("IdentityReady")["status"] == (told if kept else "Unknown")


async def test_the_operator_s_own_release_is_known_before_it_answers(become, reconcile, condition, seen):
    await become()
    seen(kinds.POD, pod(OURS, "identity"))
    await reconcile()
    assert condition("IdentityReady")["reason"] == "KeysPublished"
