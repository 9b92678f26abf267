"""Certificates of stores: signed and renewed by the operator, or judged where they are the user's."""

import base64
from datetime import datetime, timedelta

import pytest
from cryptography import x509 as certificates
from cryptography.hazmat.primitives import serialization

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.network import service_url
from swarm_operator.controllers.swarmmemorystore.tls import x509
from swarm_operator.controllers.swarmmemorystore.tls.names import trusted
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")
OWN, USERS = (kinds.SECRET, Key("ns", "bees-tls")), (kinds.SECRET, Key("ns", "mine"))
DAY = 86_400


@pytest.fixture
def reconciler(caching, recorder, observer, clock):
    return SwarmMemoryStoreReconciler(caching, recorder, observer, "image", operator_namespace="system", clock=clock)


@pytest.fixture
def reconcile(reconciler, seen, store_object, cache):
    """reconcile(mode="auto") runs one pass over a store with this TLS, and returns its condition CertificateReady."""

    async def once(**tls):
        live = cache.get(kinds.SWARM_MEMORY_STORE, KEY)
        obj = store_object(**({"tls": tls} if tls else {}))
        seen(kinds.SWARM_MEMORY_STORE, obj | ({"status": live["status"]} if live and "status" in live else {}))
        await reconciler.reconcile(KEY)
        status = cache.get(kinds.SWARM_MEMORY_STORE, KEY)["status"]
        return {each["type"]: each for each in status["conditions"]}.get("CertificateReady")

    return once


@pytest.fixture
def files(client):
    return lambda: {name: base64.b64decode(value) for name, value in client.objects[OWN]["data"].items()}


def published(cache):
    found = cache.get(kinds.CONFIG_MAP, Key("ns", "bees-ca"))
    return found and found["data"]["ca.crt"].encode()


async def test_without_tls_there_is_nothing_of_it(reconcile, client, cache):
    assert await reconcile() is None
    assert await reconcile(mode="off") is None
    assert OWN not in client.objects
    assert published(cache) is None
    assert not any(name == "swarm-operator-ca" for _, _, name in client.requests)


async def test_auto_makes_a_certificate_that_the_published_ca_has_signed(reconcile, files, client, cache):
    condition = await reconcile(mode="auto")
    assert (condition["status"], condition["reason"]) == ("True", "Valid")
    made = certificates.load_pem_x509_certificate(files()["tls.crt"])
    assert x509.is_signed_by(made, published(cache))
    assert files()["ca.crt"] == published(cache)
    names = made.extensions.get_extension_for_class(certificates.SubjectAlternativeName).value
    assert {"bees.ns.svc", "bees", "bees-0.bees-headless.ns.svc"} <= set(
        names.get_values_for_type(certificates.DNSName)
    )
    secret = client.objects[OWN]
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "uid-bees"


async def test_auto_renews_before_the_end_and_not_all_stores_at_one_time(reconcile, files, clock, client, recorder):
    await reconcile(mode="auto")
    first = files()
    clock.advance(50 * DAY)
    await reconcile(mode="auto")
    assert files() == first
    clock.advance(10 * DAY + 1)
    condition = await reconcile(mode="auto")
    assert files()["tls.crt"] != first["tls.crt"]
    assert files()["ca.crt"] == first["ca.crt"]
    assert condition["status"] == "True"
    assert "CertificateRenewed" in recorder.reasons
    key = first["tls.key"].decode().splitlines()[1]
    assert key not in str(recorder.events) + str(condition)


async def test_over_years_the_certificate_is_always_one_that_the_published_ca_has_signed(
    reconcile, files, clock, cache
):
    authorities = set()
    for _ in range(200):
        await reconcile(mode="auto")
        made = certificates.load_pem_x509_certificate(files()["tls.crt"])
        assert x509.is_signed_by(made, published(cache))
        assert made.not_valid_after_utc - clock.now() > timedelta(days=20)
        authorities.add(made.issuer)
        clock.advance(9 * DAY)
    assert len(authorities) == 3


@pytest.mark.parametrize("broken", ["tls.crt", "tls.key", "ca.crt"])
async def test_auto_mends_what_somebody_has_broken(reconcile, client, broken):
    await reconcile(mode="auto")
    client.objects[OWN]["data"][broken] = base64.b64encode(b"broken").decode()
    assert (await reconcile(mode="auto"))["reason"] == "Valid"


async def test_a_ca_that_is_lost_is_made_anew_and_signs_anew(reconcile, files, client, cache, clock):
    await reconcile(mode="auto")
    former = files()
    del client.objects[kinds.SECRET, Key("system", "swarm-operator-ca")]
    clock.advance(61)
    assert (await reconcile(mode="auto"))["reason"] == "Valid"
    assert files()["tls.crt"] != former["tls.crt"]
    assert x509.is_signed_by(certificates.load_pem_x509_certificate(files()["tls.crt"]), published(cache))


@pytest.mark.parametrize("days", [-2, 400, 4000])
async def test_a_clock_that_jumps_and_comes_back_leaves_nothing_that_is_not_valid(
    reconcile, files, clock, cache, monkeypatch, days
):
    await reconcile(mode="auto")
    for jump in (timedelta(days=days), timedelta()):
        monkeypatch.setattr(clock, "now", lambda jump=jump: clock.moment + jump)
        clock.advance(61)
        condition = await reconcile(mode="auto")
        assert (condition["status"], condition["reason"]) == ("True", "Valid")
        made, now = certificates.load_pem_x509_certificate(files()["tls.crt"]), clock.now()
        signers = [ca for ca in certificates.load_pem_x509_certificates(published(cache)) if ca.subject == made.issuer]
        for found in (made, *signers):
            assert found.not_valid_before_utc <= now < found.not_valid_after_utc, found.subject
        assert signers


async def test_auto_without_a_pod_of_the_operator_is_told(
    cache, caching, recorder, observer, clock, seen, store_object
):
    reconciler = SwarmMemoryStoreReconciler(caching, recorder, observer, "image", clock=clock)
    seen(kinds.SWARM_MEMORY_STORE, store_object(tls={"mode": "auto"}))
    await reconciler.reconcile(KEY)
    status = cache.get(kinds.SWARM_MEMORY_STORE, KEY)["status"]
    (condition,) = [each for each in status["conditions"] if each["type"] == "CertificateReady"]
    assert (condition["status"], condition["reason"]) == ("False", "NoAuthority")


def users_secret(now: datetime, names=("bees.ns.svc",)):
    ca = x509.new_ca("mine", now)
    pair = x509.sign(ca, names, now)
    return {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": ca.certificate}


def put(client, content):
    data = {name: base64.b64encode(value).decode() for name, value in content.items()}
    client.put(kinds.SECRET, {"metadata": {"name": "mine", "namespace": "ns", "uid": "u"}, "data": data})


def without(name):
    return lambda found, now: {key: value for key, value in found.items() if key != name}


def encrypted(found, now):
    key = serialization.load_pem_private_key(found["tls.key"], None)
    hidden = serialization.BestAvailableEncryption(b"x")
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    return found | {"tls.key": pem}


BAD = {
    "no certificate": (without("tls.crt"), "CertificateMissing"),
    "no key": (without("tls.key"), "KeyMissing"),
    "no CA": (without("ca.crt"), "CAMissing"),
    "no PEM": (lambda found, now: found | {"tls.crt": b"x"}, "CertificateInvalid"),
    "no CA in PEM": (lambda found, now: found | {"ca.crt": b"x"}, "CertificateInvalid"),
    "key no PEM": (lambda found, now: found | {"tls.key": b"x"}, "KeyInvalid"),
    "a passphrase": (encrypted, "KeyInvalid"),
    "another key": (lambda found, now: found | {"tls.key": users_secret(now)["tls.key"]}, "KeyInvalid"),
    "another name": (lambda found, now: users_secret(now, ["bees.other.svc"]), "NameMismatch"),
    "expired": (lambda found, now: users_secret(now - timedelta(days=90)), "Expired"),
    "not yet valid": (lambda found, now: users_secret(now + timedelta(hours=2)), "NotYetValid"),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_bad_secret_is_told_and_everything_else_goes_on(reconcile, client, clock, cache, recorder, bad):
    change, reason = BAD[bad]
    good = users_secret(clock.now())
    key = good["tls.key"].decode().splitlines()[1]
    put(client, change(good, clock.now()))
    condition = await reconcile(mode="secret", secretName="mine")
    assert (condition["status"], condition["reason"]) == ("False", reason)
    assert condition["message"].startswith("Secret mine: ")
    assert key not in str(condition) + str(recorder.events)
    workload = cache.get(kinds.STATEFUL_SET, KEY)
    (volume,) = [each for each in workload["spec"]["template"]["spec"]["volumes"] if each["name"] == "certificate"]
    assert volume["secret"]["secretName"] == "mine"
    put(client, good)
    assert (await reconcile(mode="secret", secretName="mine"))["reason"] == "Valid"
    assert published(cache) == good["ca.crt"]
    put(client, change(good, clock.now()))
    await reconcile(mode="secret", secretName="mine")
    assert published(cache), "what is no CA does not replace one"


async def test_a_missing_secret_is_told(reconcile, cache):
    condition = await reconcile(mode="secret", secretName="mine")
    assert (condition["status"], condition["reason"]) == ("False", "SecretMissing")
    assert cache.get(kinds.STATEFUL_SET, KEY) is not None
    assert cache.get(kinds.SERVICE, KEY) is not None


async def test_a_wildcard_is_a_name_of_the_store(reconcile, client, clock):
    put(client, users_secret(clock.now(), ["*.ns.svc"]))
    assert (await reconcile(mode="secret", secretName="mine"))["reason"] == "Valid"


async def test_a_secret_of_somebody_else_is_not_taken_over_and_everything_else_goes_on(reconcile, client, cache):
    client.put(kinds.SECRET, {"metadata": {"name": "bees-tls", "namespace": "ns", "uid": "u"}, "data": {}})
    await reconcile(mode="auto")
    assert client.objects[OWN]["data"] == {}
    ready = cache.get(kinds.SWARM_MEMORY_STORE, KEY)["status"]["conditions"]
    assert {each["type"]: each["reason"] for each in ready}["Ready"] == "NameTaken"
    assert cache.get(kinds.STATEFUL_SET, KEY) is not None


def address(cache):
    return cache.get(kinds.SWARM_MEMORY_STORE, KEY)["status"]["endpoints"]["http"]


async def test_the_operator_asks_by_tls_when_the_pod_serves_it(reconcile, cache, store):
    await reconcile()
    secure = store(tls={"mode": "auto"})
    assert trusted(secure, cache) is None, "the pod has its former template still"
    await reconcile(mode="auto")
    ca = trusted(secure, cache)
    assert ca.encode() == published(cache)
    assert service_url("http://{name}.{namespace}.svc:8080", KEY, ca) == "https://bees.ns.svc:8080"
    assert service_url("http://{name}.{namespace}.svc:8080", KEY, None) == "http://bees.ns.svc:8080"


async def test_without_a_pod_the_address_is_that_of_the_next_one_at_once(reconcile, cache):
    await reconcile()
    assert address(cache) == "http://bees.ns.svc:8080"
    await reconcile(mode="auto")
    assert address(cache) == "https://bees.ns.svc:8080"
    await reconcile(mode="off")
    assert address(cache) == "http://bees.ns.svc:8080"


async def test_the_address_is_that_of_the_pod_until_it_is_replaced(reconcile, cache, store, seen, forget):
    await reconcile()
    pod = {"metadata": {"name": "bees-0", "namespace": "ns", "uid": "p"}, "spec": {"volumes": [{"name": "data"}]}}
    seen(kinds.POD, pod)
    await reconcile(mode="auto")
    assert address(cache) == "http://bees.ns.svc:8080", "clients would be refused"
    assert trusted(store(tls={"mode": "auto"}), cache) is None
    forget(kinds.POD, "bees-0")
    await reconcile(mode="auto")
    assert address(cache) == "https://bees.ns.svc:8080"
    seen(kinds.POD, pod | {"spec": {"volumes": [{"name": "certificate"}]}})
    await reconcile(mode="off")
    assert address(cache) == "https://bees.ns.svc:8080"
    assert trusted(store(), cache).encode() == published(cache)


PUBLISHED = (kinds.CONFIG_MAP, Key("ns", "bees-ca"))
SECURE_POD = {"name": "certificate", "secret": {"secretName": "bees-tls"}}


@pytest.fixture
def pod_has(seen):
    """pod_has(*volumes, ready=True) is the kubelet's and the StatefulSet controller's write of the store's pod."""

    def put(*volumes, name="bees-0", ready=True):
        status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
        metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
        seen(kinds.POD, {"metadata": metadata, "spec": {"volumes": list(volumes)}, "status": status})

    return put


async def test_what_tls_made_is_deleted_when_the_pod_is_ready_without_it(reconcile, client, pod_has):
    await reconcile(mode="auto")
    pod_has(SECURE_POD)
    await reconcile(mode="off")
    assert OWN in client.objects, "the pod mounts it"
    pod_has(ready=False)
    await reconcile(mode="off")
    assert OWN in client.objects, "the template with the certificate may be put back"
    pod_has()
    await reconcile(mode="off")
    assert OWN not in client.objects
    assert PUBLISHED not in client.objects
    assert (kinds.SECRET, Key("system", "swarm-operator-ca")) in client.objects, "it is of all stores"


async def test_the_ca_stays_while_a_pod_mounts_it(reconcile, client, pod_has, forget):
    await reconcile(mode="auto")
    pod_has()
    pod_has({"name": "ca", "configMap": {"name": "bees-ca"}}, name="agent-0")
    await reconcile(mode="off")
    assert PUBLISHED in client.objects
    forget(kinds.POD, "agent-0")
    await reconcile(mode="off")
    assert PUBLISHED not in client.objects


@pytest.mark.parametrize(
    "volume",
    [
        {"configMap": {"name": "bees-ca"}},
        {"projected": {"sources": [{"secret": {"name": "x"}}, {"configMap": {"name": "bees-ca"}}]}},
    ],
    ids=["alone", "projected"],
)
async def test_the_ca_stays_while_a_pod_of_somebody_else_mounts_it(reconcile, client, pod_has, volume):
    await reconcile(mode="auto")
    pod_has()
    metadata = {"name": "client", "namespace": "ns", "uid": "c"}
    client.put(kinds.POD, {"metadata": metadata, "spec": {"volumes": [{"name": "any", **volume}]}})
    await reconcile(mode="off")
    assert {OWN, PUBLISHED} <= client.objects.keys()
    del client.objects[kinds.POD, Key("ns", "client")]
    client.put(kinds.POD, {"metadata": metadata | {"namespace": "other"}, "spec": {"volumes": [volume]}})
    await reconcile(mode="off")
    assert not {OWN, PUBLISHED} & client.objects.keys()


@pytest.mark.parametrize("mode", ["off", "auto"])
async def test_pods_of_others_are_read_only_while_the_ca_may_be_deleted(reconcile, client, pod_has, mode):
    await reconcile(mode=mode)
    pod_has(*([SECURE_POD] if mode == "auto" else []))
    await reconcile(mode=mode)
    await reconcile(mode="off")
    assert ("list", "Pod", "") not in client.requests


async def test_the_operator_s_secret_is_deleted_when_the_pod_is_ready_with_the_user_s(
    reconcile, client, clock, pod_has, cache
):
    put(client, users_secret(clock.now()))
    await reconcile(mode="auto")
    pod_has(SECURE_POD)
    await reconcile(mode="secret", secretName="mine")
    assert OWN in client.objects, "the pod mounts it"
    users = {"name": "certificate", "secret": {"secretName": "mine"}}
    pod_has(users, ready=False)
    await reconcile(mode="secret", secretName="mine")
    assert OWN in client.objects, "the template with the operator's certificate may be put back"
    pod_has(users)
    condition = await reconcile(mode="secret", secretName="mine")
    assert OWN not in client.objects
    assert USERS in client.objects
    assert condition["reason"] == "Valid"
    assert published(cache)


async def test_the_operator_s_secret_stays_if_the_user_names_it(reconcile, client, pod_has):
    await reconcile(mode="auto")
    pod_has({"name": "certificate", "secret": {"secretName": "mine"}})
    assert (await reconcile(mode="secret", secretName="bees-tls"))["reason"] == "Valid"
    assert OWN in client.objects, "the next pod mounts it"


async def test_a_secret_of_somebody_else_stays_beside_the_user_s(reconcile, client, clock, pod_has):
    put(client, users_secret(clock.now()))
    await reconcile(mode="auto")
    client.put(kinds.SECRET, {"metadata": {"name": "bees-tls", "namespace": "ns", "uid": "new"}, "data": {}})
    pod_has({"name": "certificate", "secret": {"secretName": "mine"}})
    await reconcile(mode="secret", secretName="mine")
    assert OWN in client.objects


async def test_a_user_s_secret_stays_when_tls_is_switched_off(reconcile, client, clock, pod_has):
    content = users_secret(clock.now())
    put(client, content)
    client.put(kinds.SECRET, client.objects[USERS] | {"metadata": {"name": "bees-tls", "namespace": "ns", "uid": "v"}})
    await reconcile(mode="secret", secretName="mine")
    pod_has()
    await reconcile(mode="off")
    assert {USERS, OWN} <= client.objects.keys()
    assert PUBLISHED not in client.objects


async def test_a_store_without_tls_reads_no_certificate(reconcile, client, pod_has):
    await reconcile()
    pod_has()
    client.requests.clear()
    await reconcile()
    assert ("get", "Secret", "bees-tls") not in client.requests
