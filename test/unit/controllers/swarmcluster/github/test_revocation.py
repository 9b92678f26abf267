"""The end of a token, with the cluster or with its githubApp."""

import pytest
from aiohttp import web

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster.github.revocation import FINALIZER, TRIES
from swarm_operator.runtime.errors import ForbiddenError
from swarm_operator.runtime.resource import Key

from .conftest import CLUSTER, KEY, SECRET, TOKEN_KEY


@pytest.fixture
def delete(client, seen):
    """Begin the deletion of the cluster."""

    def begin():
        live = client.objects[CLUSTER, KEY]
        seen(CLUSTER, live | {"metadata": live["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}})

    return begin


@pytest.fixture
def finalizers(client):
    return lambda: client.objects[CLUSTER, KEY]["metadata"].get("finalizers")


async def test_it_is_revoked_before_the_cluster_goes(run, asking, delete, github, client, finalizers, conditions):
    await run(asking())
    delete()
    await run(wait=False)
    assert finalizers() == [FINALIZER]
    assert conditions()["Ready"] == ("False", "RevokingToken")
    await run()
    assert (github.tokens, finalizers()) == ({}, [])
    assert (SECRET, TOKEN_KEY) not in client.objects


async def test_a_server_that_is_away_holds_up_no_deletion(
    run, asking, delete, github, client, finalizers, recorder, clock
):
    await run(asking())
    github.answer = web.Response(status=503)
    delete()
    for _ in range(TRIES):
        assert finalizers() == [FINALIZER]
        clock.advance((await run()).requeue_after + 0.1)
    assert finalizers() == []
    assert (SECRET, TOKEN_KEY) not in client.objects
    (note,) = [note for _, reason, note in recorder.events if reason == "TokenNotRevoked"]
    assert "503" in note
    assert "it expires at 2026-11-23T13:00:00Z" in note


@pytest.mark.parametrize("verb", ["get", "delete"])
async def test_a_missing_right_holds_up_no_deletion(run, asking, delete, client, finalizers, recorder, verb):
    await run(asking())
    client.refusals[verb, "Secret"] = ForbiddenError("secrets is forbidden", status=403)
    delete()
    await run()
    assert finalizers() == []
    assert "TokenNotRevoked" in recorder.reasons


async def test_there_is_nothing_to_revoke_without_a_token_or_after_its_end(
    run, asking, delete, github, client, finalizers, clock
):
    await run(asking())
    clock.advance(3601)
    delete()
    asked = len(github.asked)
    await run()
    assert (finalizers(), len(github.asked)) == ([], asked)


async def test_a_call_that_runs_ends_with_its_cluster(run, asking, delete, github, finalizers):
    github.gate.clear()
    await run(asking(), wait=False)
    delete()
    await run()
    assert finalizers() == []


async def test_taking_the_app_away_revokes_the_token_and_lets_everything_else_be(
    run, asking, github, client, finalizers, ready, cache, status
):
    await run(asking())
    obj = asking()
    del obj["spec"]["githubApp"]
    await run(obj)
    assert (github.tokens, finalizers(), ready()) == ({}, [], None)
    assert (SECRET, TOKEN_KEY) not in client.objects
    assert "githubToken" not in status()
    assert cache.get(kinds.SWARM_MEMORY_STORE, Key("ns", "hive-memory"))


async def test_a_token_in_another_namespace_goes_before_what_is_in_it(
    run, asking, delete, github, client, namespace, finalizers
):
    obj = asking()
    obj["spec"]["namespaceConfig"] = {"swarmNamespace": "far"}
    namespace("far", annotations={"swarm.claudeflow.io/allow-clusters-from": "ns"})
    await run(obj)
    elsewhere = (SECRET, Key("far", TOKEN_KEY.name))
    assert client.objects[elsewhere]["metadata"]["labels"]["swarm.claudeflow.io/cluster-uid"] == "uid-hive"
    assert "ownerReferences" not in client.objects[elsewhere]["metadata"]
    delete()
    await run()
    assert github.tokens == {}
    assert elsewhere not in client.objects
    assert FINALIZER in finalizers(), "the store goes by its own policy first"
