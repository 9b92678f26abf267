"""A cluster's token, from its request to its end, with a GitHub server of the test's."""

import pytest
from aiohttp import web
from support.github import INSTALLATION, private_key

from swarm_operator.controllers.swarmcluster.github.revocation import FINALIZER
from swarm_operator.runtime.errors import ForbiddenError

from .conftest import CLUSTER, KEY, SECRET, TOKEN_KEY, encoded

ROTATE = "swarm.claudeflow.io/rotate-token"
MARK = "swarm.claudeflow.io/"


@pytest.fixture
def marks(client):
    """Annotations of the token's Secret."""

    def read():
        found = client.objects[SECRET, TOKEN_KEY]["metadata"]["annotations"]
        return {name.removeprefix(MARK): value for name, value in found.items()}

    return read


async def test_a_cluster_gets_a_token_that_its_secret_describes(
    run, asking, client, token, marks, ready, github, status, recorder, conditions
):
    asked = asking(repositories=["bees/honey", "bees/hive"], permissions={"contents": "write"})
    await run(asked, wait=False)
    assert ready() == ("False", "MintingToken")
    assert client.objects[CLUSTER, KEY]["metadata"]["finalizers"] == [FINALIZER]
    assert token() is None
    result = await run()
    assert github.tokens[token()].repositories == ("hive", "honey")
    assert ready() == ("True", "TokenValid")
    assert (
        marks().items()
        >= {
            "expires-at": "2026-11-23T13:00:00Z",
            "rotated-at": "2026-11-23T12:00:00Z",
            "repositories": "bees/hive,bees/honey",
            "github-api-url": github.api_url,
        }.items()
    )
    assert status()["githubToken"] == {"expiresAt": "2026-11-23T13:00:00Z", "rotatedAt": "2026-11-23T12:00:00Z"}
    assert 0 < result.requeue_after <= 300
    assert conditions()["Ready"][1] == "WaitingForStore", "the memory is made as ever"
    assert ("Normal", "TokenValid", "GitHubTokenReady is True: TokenValid") in recorder.events


async def test_it_is_replaced_in_time_and_not_before(run, asking, clock, github, token, marks):
    await run(asking())
    first, looks = token(), 0
    while token() == first:
        clock.advance((await run()).requeue_after)
        looks += 1
        assert looks < 100
    assert token() == github.minted[1]
    assert "2026-11-23T12:40:30Z" <= marks()["rotated-at"] <= "2026-11-23T12:45:00Z"
    assert github.tokens.keys() == {*github.minted}, "the former works on: the agents have it for a minute yet"


@pytest.mark.parametrize(
    "change",
    [{"repositories": ["bees/hive"]}, {"permissions": {"contents": "write"}}, {"installationID": INSTALLATION}],
)
async def test_another_list_is_another_token_at_once(run, asking, github, token, change):
    await run(asking())
    await run(asking(**change))
    assert [token()] == github.minted[1:]
    await run()
    assert len(github.minted) == 2


async def test_an_annotation_asks_for_another_and_is_taken_away(run, asking, github, token, client, seen):
    await run(asking())
    for _ in range(2):
        live = client.objects[CLUSTER, KEY]
        seen(CLUSTER, live | {"metadata": live["metadata"] | {"annotations": {ROTATE: "true", "other": "x"}}})
        minted = len(github.minted)
        await run()
        assert token() == github.minted[-1]
        assert len(github.minted) == minted + 1
        assert client.objects[CLUSTER, KEY]["metadata"]["annotations"] == {"other": "x"}
    client.requests.clear()
    await run()
    assert client.writes() == []


async def test_a_secret_that_was_deleted_or_damaged_is_mended(run, asking, client, github, token):
    await run(asking())
    del client.objects[SECRET, TOKEN_KEY]
    await run()
    assert token() == github.minted[1]
    client.objects[SECRET, TOKEN_KEY]["data"] = {}
    await run()
    assert token() == github.minted[2]


async def test_a_failure_leaves_the_token_and_ready_as_they_are_while_it_works(
    run, asking, clock, github, token, ready, conditions, message, status
):
    await run(asking())
    github.answer = web.Response(status=503)
    clock.advance(2700)
    await run(wait=False)
    assert ready() == ("True", "TokenValid"), "it is being asked for"
    result = await run()
    assert ready() == ("False", "GitHubUnavailable")
    assert "the former token works until 2026-11-23T13:00:00Z" in message("GitHubTokenReady")
    assert conditions()["Ready"][1] == "WaitingForStore"
    assert token() == github.minted[0]
    assert 10 <= result.requeue_after <= 12
    clock.advance(900)
    await run()
    assert conditions()["Ready"] == ("False", "GitHubUnavailable"), "it has expired"
    assert conditions()["MemoryReady"][1] == "WaitingForStore"
    github.answer = None
    clock.advance(900)
    await run()
    assert (ready(), token()) == (("True", "TokenValid"), github.minted[1])
    assert status()["githubToken"]["expiresAt"] == "2026-11-23T14:15:00Z"


async def test_a_rate_limit_is_waited_for(run, asking, github, ready):
    github.answer = web.Response(status=403, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795436200"})
    result = await run(asking())
    assert ready() == ("False", "RateLimited")
    assert 1000 <= result.requeue_after <= 1200
    for _ in range(5):
        await run()
    assert len(github.asked) == 1


async def test_secrets_that_are_mended_are_seen_at_the_next_look(run, asking, put_secret, client, ready, github):
    obj = asking()
    del client.objects[SECRET, KEY._replace(name="app")]
    assert (await run(obj)).requeue_after == 30
    assert ready() == ("False", "KeyNotFound")
    put_secret("app", data=encoded(**{"private-key.pem": b"no key"}))
    await run()
    assert ready() == ("False", "KeyInvalid")
    put_secret("app", data=encoded(**{"private-key.pem": private_key(1)}))
    await run()
    assert ready() == ("False", "AppRefused")
    put_secret("app", data=encoded(**{"private-key.pem": private_key()}))
    await run()
    assert ready() == ("True", "TokenValid")


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ({"installationID": 3}, "InstallationNotFound"),
        ({"repositories": ["bees/wax"]}, "RepositoryNotFound"),
        ({"permissions": {"actions": "write"}}, "PermissionsNotGranted"),
    ],
)
async def test_what_github_does_not_give_is_a_condition_and_the_swarm_goes_on(
    run, asking, ready, conditions, app, reason
):
    await run(asking(**app))
    assert ready() == ("False", reason)
    assert conditions()["Ready"] == ("False", reason)
    assert conditions()["MemoryReady"] == ("False", "WaitingForStore")


@pytest.mark.parametrize("seconds", [86400, -86400])
async def test_a_clock_that_jumps_keeps_the_token_and_tells(
    run, asking, clock, github, token, ready, seconds, monkeypatch, conditions
):
    await run(asking())
    right = clock.now()
    github.now = lambda: right
    clock.advance(seconds)
    await run()
    assert ready() == ("False", "ClockSkew")
    assert token() == github.minted[0]
    assert conditions()["MemoryReady"] == ("False", "WaitingForStore")
    clock.advance(-seconds)
    await run()
    assert ready() == ("True", "TokenValid")
    assert len(github.minted) == 1


async def test_a_secret_of_somebody_else_is_never_taken_over(run, asking, client, put_secret, ready, github):
    put_secret(TOKEN_KEY.name, data=encoded(token=b"theirs"))
    await run(asking())
    assert ready() == ("False", "NameTaken")
    assert client.objects[SECRET, TOKEN_KEY]["data"] == encoded(token=b"theirs")
    assert github.asked == []


async def test_a_secret_that_may_not_be_written_keeps_the_minted_token_for_later(
    run, asking, client, ready, github, token
):
    client.refusals["create", "Secret"] = ForbiddenError("secrets is forbidden", status=403)
    await run(asking(), wait=False)
    with pytest.raises(ForbiddenError):
        await run()
    client.refusals.clear()
    await run()
    assert (ready(), [token()]) == (("True", "TokenValid"), github.minted)


async def test_a_quiet_cluster_reads_one_secret_and_writes_nothing(run, asking, client):
    await run(asking())
    await run()
    client.requests.clear()
    await run()
    assert client.writes() == []
    assert [request[2] for request in client.requests if request[1] == "Secret"] == [TOKEN_KEY.name]


async def test_no_secret_is_told_to_anybody(run, asking, client, github, recorder, logged, clock):
    await run(asking())
    github.answer = web.Response(status=401, text=f'{{"message": "{github.minted[0]}"}}')
    clock.advance(3500)
    await run()
    told = str([client.objects[CLUSTER, KEY], recorder.events, logged])
    assert "AppRefused" in told
    for secret in (github.minted[0], private_key().decode()[40:80], "eyJ"):
        assert secret not in told


async def test_a_cluster_without_an_app_asks_for_nothing(run, cluster_object, client, ready):
    await run(cluster_object(enableMemoryStore=True))
    assert ready() is None
    assert "finalizers" not in client.objects[CLUSTER, KEY]["metadata"]
    assert [request for request in client.requests if request[1] == "Secret"] == []
