"""Agents find their swarm's hive mind, wherever it is, and work without it."""

import base64

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster.agents.hive_mind import environment, mounts, volumes
from swarm_operator.runtime.resource import Key, owner_reference

SECRET, STORE = kinds.SECRET, kinds.SWARM_MEMORY_STORE
COPY = Key("ns", "hive-agent-hivemind")
HIVE = {"enabled": True}
FAR = {"hiveMind": HIVE, "namespaceConfig": {"swarmNamespace": "ns", "hiveMindNamespace": "minds"}}


def encoded(token):
    return base64.b64encode(token.encode()).decode()


@pytest.fixture
def tokens(client, cache):
    """Write the tokens of the hive mind in its namespace, as its store does."""

    def write(token, owner=None):
        owner = owner or cache.get(STORE, Key("minds", "hive-hivemind"))
        metadata = {"name": "hive-hivemind-auth", "namespace": "minds", "uid": "uid-auth"}
        data = {"client-token": encoded(token), "admin-token": encoded("admin")}
        client.put(SECRET, {"metadata": metadata | {"ownerReferences": [owner_reference(owner)]}, "data": data})

    return write


def files(secret):
    return {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}


def test_agents_mount_the_client_s_token_of_a_hive_mind_beside_them_if_it_is_there(swarm):
    cluster = swarm(hiveMind=HIVE)
    (volume,), (mount,) = volumes(cluster), mounts(cluster)
    assert volume["secret"] == {
        "secretName": "hive-hivemind-auth",
        "defaultMode": 0o440,
        "items": [{"key": "client-token", "path": "client-token"}],
        "optional": True,
    }
    assert environment(cluster, secure=False) == {
        "SWARM_HIVE_MIND_URL": "http://hive-hivemind.ns.svc:8080",
        "SWARM_HIVE_MIND_TOKEN_FILE": f"{mount['mountPath']}/client-token",
    }


def test_without_a_hive_mind_they_have_nothing_of_it(swarm):
    assert (environment(swarm(), secure=False), mounts(swarm()), volumes(swarm())) == ({}, [], [])


async def test_where_it_is_beside_them_its_secret_is_not_read(run, memory_serves, agents_object, client, cache):
    await memory_serves(agents_object(hiveMind=HIVE))
    owner = cache.get(STORE, Key("ns", "hive-hivemind"))
    metadata = {"name": "hive-hivemind-auth", "namespace": "ns", "ownerReferences": [owner_reference(owner)]}
    client.put(SECRET, {"metadata": metadata, "data": {"client-token": encoded("first")}})
    status = await run()
    assert status["conditions"]["AgentsReady"][:2] == ("False", "WaitingForAgents")
    assert "Secret" not in [kind for _, kind, _ in client.requests]


async def test_where_it_is_elsewhere_its_client_token_and_no_other_comes_to_the_agents(
    run, memory_serves, agents_object, client, tokens, workload
):
    obj = agents_object(**FAR)
    await memory_serves(obj)
    await run()
    assert workload() is not None, "agents do not wait for the hive mind"
    assert (SECRET, COPY) not in client.objects
    tokens("first")
    await run()
    copy = client.objects[SECRET, COPY]
    assert files(copy) == {"client-token": "first"}
    assert copy["metadata"]["ownerReferences"] == [owner_reference(obj)]
    pod = workload()["spec"]["template"]["spec"]
    assert COPY.name in [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    tokens("second")
    await run()
    assert files(client.objects[SECRET, COPY]) == {"client-token": "second"}
    client.requests.clear()
    await run()
    assert client.writes() == []


async def test_a_copy_in_a_third_namespace_goes_with_the_memory_there(run, agents_object, seen, cache, client, tokens):
    obj = agents_object(**{**FAR, "namespaceConfig": {"swarmNamespace": "far", "hiveMindNamespace": "minds"}})
    await run(obj)
    memory = cache.get(STORE, Key("far", "hive-memory"))
    ready = {"type": "Ready", "status": "True", "reason": "Available", "message": "it answers"}
    seen(STORE, memory | {"status": {"phase": "Ready", "observedGeneration": 1, "conditions": [ready]}})
    tokens("first")
    await run()
    copy = client.objects[SECRET, Key("far", COPY.name)]
    (owner,) = copy["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("SwarmMemoryStore", memory["metadata"]["uid"])
    assert copy["metadata"]["labels"]["swarm.claudeflow.io/cluster-uid"] == obj["metadata"]["uid"]


async def test_a_secret_that_is_not_the_hive_mind_s_is_not_given_away(
    run, memory_serves, agents_object, client, tokens
):
    await memory_serves(agents_object(**FAR))
    tokens("of somebody else", owner={**agents_object(), "metadata": {"name": "x", "uid": "another"}})
    await run()
    assert (SECRET, COPY) not in client.objects


async def test_a_name_that_is_taken_is_told_and_agents_are_made_all_the_same(
    run, memory_serves, agents_object, client, tokens, workload
):
    client.put(SECRET, {"metadata": {"name": COPY.name, "namespace": "ns", "uid": "theirs"}, "data": {}})
    await memory_serves(agents_object(**FAR))
    tokens("first")
    status = await run()
    assert status["conditions"]["Ready"][:2] == ("False", "NameTaken")
    assert COPY.name in status["conditions"]["Ready"][2]
    assert workload() is not None
    assert client.objects[SECRET, COPY]["data"] == {}
