from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web
from support.authority import Authority
from support.github import APP, INSTALLATION, Installation, private_key

from swarm_operator.controllers.swarmcluster.github.answers import MAX_WAIT
from swarm_operator.controllers.swarmcluster.github.api import GitHubApi, Revocation, Server, TokenRequest
from swarm_operator.controllers.swarmcluster.github.errors import GitHubError


@pytest.fixture
def asked(github):
    """A request for a token of everything."""
    return TokenRequest(Server(github.api_url, github.ca), APP, private_key(), None, (), ())


@pytest.fixture
def refusal(api):
    """Reason and message of a refused request."""

    async def of(request):
        with pytest.raises(GitHubError) as refused:
            await api.mint(request)
        assert refused.value.__cause__ is None
        return refused.value

    return of


async def test_a_token_is_limited_to_repositories_and_permissions(api, asked, github, clock):
    minted = await api.mint(replace(asked, repositories=("bees/hive",), permissions=(("contents", "write"),)))
    token = github.tokens[minted.token]
    assert (token.repositories, token.permissions) == (("hive",), {"contents": "write"})
    assert minted.expires_at == clock.now() + timedelta(hours=1)


async def test_it_is_of_everything_when_nothing_is_named(api, asked, github):
    token = github.tokens[(await api.mint(asked)).token]
    assert (token.repositories, token.permissions) == (
        github.installations[INSTALLATION].repositories,
        github.installations[INSTALLATION].permissions,
    )


async def test_the_installation_is_found_by_a_repository_or_is_the_only_one(api, asked, github, refusal):
    await api.mint(replace(asked, installation_id=INSTALLATION))
    assert github.asked == [("POST", f"/app/installations/{INSTALLATION}/access_tokens")]
    github.installations[1] = Installation(("wax",))
    minted = await api.mint(replace(asked, repositories=("bees/wax",)))
    assert github.tokens[minted.token].repositories == ("wax",)
    assert (await refusal(asked)).reason == "InstallationAmbiguous"
    github.installations.clear()
    assert (await refusal(asked)).reason == "InstallationNotFound"


async def test_what_is_gone_hidden_or_not_granted_is_told_apart(asked, github, refusal):
    gone = await refusal(replace(asked, installation_id=3))
    assert (gone.reason, str(gone)) == (
        "InstallationNotFound",
        f"App {APP} has no installation 3, or it was removed",
    )
    hidden = await refusal(replace(asked, repositories=("bees/wax",)))
    assert (hidden.reason, "bees/wax" in str(hidden)) == ("RepositoryNotFound", True)
    given = replace(asked, installation_id=INSTALLATION, repositories=("bees/hive", "bees/wax"))
    assert (await refusal(given)).reason == "RepositoryNotFound"
    assert (await refusal(replace(asked, permissions=(("actions", "write"),)))).reason == "PermissionsNotGranted"
    github.installations[INSTALLATION].suspended = True
    assert (await refusal(asked)).reason == "InstallationSuspended"


async def test_a_signature_of_another_key_is_refused(asked, refusal):
    refused = await refusal(replace(asked, key=private_key(1)))
    assert (refused.reason, "do not belong together" in str(refused)) == ("AppRefused", True)


@pytest.mark.parametrize(("seconds", "said"), [(3600, "3600 s ahead of"), (-3600, "3600 s behind")])
async def test_a_clock_that_is_wrong_is_told(asked, github, clock, seconds, said):
    wrong = GitHubApi(lambda: clock.now() + timedelta(seconds=seconds), user_agent="test")
    with pytest.raises(GitHubError) as refused:
        await wrong.mint(asked)
    assert refused.value.reason == "ClockSkew"
    assert said in str(refused.value)


@pytest.mark.parametrize("seconds", [45, -300])
async def test_a_clock_that_is_nearly_right_will_do(asked, clock, seconds):
    assert await GitHubApi(lambda: clock.now() + timedelta(seconds=seconds), user_agent="test").mint(asked)


RESET = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795435500"}  # 300 s after the clock's time


@pytest.mark.parametrize(
    ("status", "headers", "reason", "wait"),
    [
        (403, RESET, "RateLimited", 300),
        (403, {"Retry-After": "77"}, "RateLimited", 77),
        (429, {}, "RateLimited", 60),
        (429, {"Retry-After": "999999999"}, "RateLimited", MAX_WAIT),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "RateLimited", 60),
        (403, RESET | {"X-RateLimit-Reset": "1"}, "RateLimited", 1),
        (403, {}, "GitHubForbids", 0),
        (401, {"Date": "no date"}, "AppRefused", 0),
        (500, {}, "GitHubUnavailable", 0),
        (503, {}, "GitHubUnavailable", 0),
        (302, {"Location": "https://elsewhere.example"}, "RequestRefused", 0),
        (400, {}, "RequestRefused", 0),
        (200, {}, "GitHubUnavailable", 0),
    ],
)
async def test_every_answer_has_a_reason_and_is_not_quoted(asked, github, refusal, status, headers, reason, wait):
    body = b'{"message": "ghs_secret"}' + b" " * (2**20 if status == 500 else 0)
    github.answer = web.Response(body=body, status=status, headers=headers)
    refused = await refusal(asked)
    assert (refused.reason, refused.retry_after) == (reason, wait)
    assert "ghs_secret" not in str(refused)
    assert len(github.asked) == 1, "no redirect is followed"


@pytest.mark.parametrize("field", [{"token": "a b"}, {"token": 1}, {"expires_at": "soon"}, {"token": ""}])
async def test_an_answer_that_is_none_of_github_s_is_no_token(asked, github, refusal, field):
    good = {"token": "ghs_secret", "expires_at": "2026-11-23T13:00:00Z"}
    github.answer = web.json_response(good | field, status=201)
    assert (await refusal(replace(asked, installation_id=1))).reason == "GitHubUnavailable"


async def test_a_server_with_a_certificate_of_another_ca_gets_no_signature(asked, github, refusal, clock):
    other = Authority("other", clock.now()).certificate.decode()
    for ca in (other, None):
        refused = await refusal(replace(asked, server=Server(github.api_url, ca)))
        assert refused.reason == "GitHubNotTrusted"
    assert (await refusal(replace(asked, server=Server(github.api_url, "no certificate")))).reason == "CAInvalid"
    assert github.asked == []


async def test_a_server_that_is_silent_or_away_ends_the_call(asked, github, clock):
    github.gate.clear()
    with pytest.raises(GitHubError, match="did not answer within 0 s") as silent:
        await GitHubApi(clock.now, user_agent="test", timeout=0.2).mint(asked)
    assert silent.value.reason == "GitHubUnreachable"
    await github.stop()
    with pytest.raises(GitHubError) as away:
        await GitHubApi(clock.now, user_agent="test").mint(asked)
    assert away.value.reason == "GitHubUnreachable"


async def test_a_token_is_revoked_once_and_for_all(api, asked, github):
    minted = await api.mint(asked)
    for _ in range(2):
        assert await api.revoke(Revocation(asked.server, minted.token))
    assert github.tokens == {}
    github.answer = web.Response(status=503)
    with pytest.raises(GitHubError, match="503"):
        await api.revoke(Revocation(asked.server, minted.token))


def test_nothing_that_is_secret_is_in_a_representation(asked):
    shown = repr([asked, Revocation(asked.server, "ghs_secret")])
    assert "PRIVATE KEY" not in shown
    assert "ghs_secret" not in shown
