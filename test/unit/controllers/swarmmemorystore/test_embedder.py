"""The embedder of a store: what its pod gets, and what is said of its Secrets."""

import base64

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set
from swarm_operator.memory.embedding.settings import EmbedderSettings
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")
HTTP = {"mode": "http", "url": "https://api.example.com/v1", "model": "m", "width": 384}
WITH_SECRETS = {**HTTP, "secretRef": {"name": "keys", "key": "mine"}, "caSecretRef": {"name": "ca"}}


def put(client, name, **files):
    data = {file: base64.b64encode(content.encode()).decode() for file, content in files.items()}
    client.objects[kinds.SECRET, Key("ns", name)] = {"metadata": {"name": name, "namespace": "ns"}, "data": data}


@pytest.fixture
def reconcile(reconciler, seen, store_object, cache):
    """reconcile(mode="http", ...) runs one pass over a store with this embedder; returns its condition."""

    async def once(**embedder):
        seen(kinds.SWARM_MEMORY_STORE, store_object(**({"embedder": embedder} if embedder else {})))
        await reconciler.reconcile(KEY)
        status = cache.get(kinds.SWARM_MEMORY_STORE, KEY)["status"]
        return {each["type"]: each for each in status["conditions"]}.get("EmbedderReady")

    return once


def parts(store):
    pod = stateful_set(store, image="i")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    return (
        {name: value for name, value in environment.items() if name.startswith("EMBEDDER")},
        [each for each in container["volumeMounts"] if each["name"] == "embedder"],
        [each for each in pod["volumes"] if each["name"] == "embedder"],
    )


def test_a_store_without_the_field_has_the_pod_of_before(store):
    assert parts(store()) == ({}, [], [])


def test_static_needs_no_more_than_its_name(store):
    assert parts(store(embedder={"mode": "static"})) == ({"EMBEDDER": "static"}, [], [])


def test_the_pod_gets_the_settings_and_the_secrets_as_files_that_may_come_later(store):
    variables, (mount,), (volume,) = parts(store(embedder={**WITH_SECRETS, "timeout": "1m", "batch": 8}))
    assert variables == {
        "EMBEDDER": "http",
        "EMBEDDER_URL": "https://api.example.com/v1",
        "EMBEDDER_MODEL": "m",
        "EMBEDDER_WIDTH": "384",
        "EMBEDDER_KEY_FILE": f"{mount['mountPath']}/api-key",
        "EMBEDDER_CA_FILE": f"{mount['mountPath']}/ca.crt",
        "EMBEDDER_TIMEOUT": "1m",
        "EMBEDDER_BATCH": "8",
    }
    assert mount["readOnly"]
    assert volume["projected"] == {
        "defaultMode": 0o440,
        "sources": [
            {"secret": {"name": "keys", "items": [{"key": "mine", "path": "api-key"}], "optional": True}},
            {"secret": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}], "optional": True}},
        ],
    }


def test_the_service_takes_what_the_pod_gets(store, monkeypatch):
    from swarm_operator.cmd import memory as command

    variables, _, _ = parts(store(embedder={**WITH_SECRETS, "timeout": "1m", "batch": 8}))
    served = []
    monkeypatch.setattr("swarm_operator.memory.service.server.serve", lambda settings, _: served.append(settings))
    for name in ("swarm_operator.cmd.logs.configure", "uvloop.run", "os.umask"):
        monkeypatch.setattr(name, lambda _: 0)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert command.main(["serve"]) == 0
    found = served[0].embedder
    assert isinstance(found, EmbedderSettings)
    assert (found.mode, found.url, found.model, found.width) == ("http", HTTP["url"], "m", 384)
    assert (str(found.key_file), found.timeout, found.batch) == (variables["EMBEDDER_KEY_FILE"], 60, 8)
    monkeypatch.delenv("EMBEDDER_MODEL")
    assert command.main(["serve"]) == 1


async def test_without_secrets_there_is_no_condition_and_no_request(reconcile, client):
    assert await reconcile() is None
    assert await reconcile(mode="static") is None
    assert await reconcile(**HTTP) is None
    assert not any(name in {"keys", "ca"} for _, _, name in client.requests)


async def test_a_missing_secret_is_told_and_holds_nothing_up(reconcile, client, cache):
    condition = await reconcile(**WITH_SECRETS)
    assert (condition["status"], condition["reason"]) == ("False", "SecretMissing")
    assert "no Secret keys" in condition["message"]
    assert cache.get(kinds.STATEFUL_SET, KEY) is not None
    put(client, "keys", mine="k")
    assert "no Secret ca" in (await reconcile(**WITH_SECRETS))["message"]


async def test_a_secret_without_the_key_is_told_until_it_has_it(reconcile, client):
    put(client, "keys", other="k", mine="")
    put(client, "ca", **{"ca.crt": "pem"})
    condition = await reconcile(**WITH_SECRETS)
    assert (condition["status"], condition["reason"]) == ("False", "KeyMissing")
    assert "Secret keys has no key mine" in condition["message"]
    put(client, "keys", mine="k")
    condition = await reconcile(**WITH_SECRETS)
    assert (condition["status"], condition["reason"]) == ("True", "SecretsPresent")
    assert await reconcile(mode="static") is None
