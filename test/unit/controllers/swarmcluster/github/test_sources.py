"""Which Secret's key a cluster may use."""

import pytest
from support.github import private_key

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmcluster.github import sources
from swarm_operator.controllers.swarmcluster.github.errors import GitHubError

from .conftest import CLUSTER, encoded

ALLOW = "swarm.claudeflow.io/allow-clusters-from"
API_URL = "swarm.claudeflow.io/github-api-url"
KEY = encoded(**{"private-key.pem": private_key()})


@pytest.fixture
def ask(cluster_object, caching, recorder, clock):
    async def request(**app):
        obj = cluster_object()
        obj["spec"]["githubApp"] = {"appID": 1, "privateKeyRef": {"name": "app"}, **app}
        r = Reconciliation(CLUSTER, obj, caching, recorder, clock)
        r.parsed = SwarmCluster.model_validate(obj)
        return await sources.token_request(r, r.parsed.spec.github_app)

    return request


@pytest.fixture
def refused(ask):
    async def why(**app):
        with pytest.raises(GitHubError) as error:
            await ask(**app)
        return error.value.reason, str(error.value)

    return why


ELSEWHERE = {"privateKeyRef": {"name": "app", "namespace": "vault"}}


@pytest.mark.parametrize(
    "grant",
    [
        {"labels": {ALLOW: "ns"}},
        {"annotations": {ALLOW: "other, ns"}},
        {"annotations": {ALLOW: "*"}},
        {"labels": {ALLOW: "other"}, "annotations": {ALLOW: "ns"}},
    ],
)
async def test_a_key_elsewhere_is_used_if_its_secret_allows_it(ask, put_secret, grant):
    put_secret("app", "vault", KEY, **grant)
    assert (await ask(**ELSEWHERE)).key == private_key()


@pytest.mark.parametrize(
    "grant",
    [
        {},
        {"labels": {ALLOW: "other"}},
        {"labels": {ALLOW: "ns-2"}},
        {"labels": {ALLOW: ""}},
        {"annotations": {ALLOW: "ns-2,other"}},
        {"labels": {"allow-clusters-from": "ns"}},
    ],
)
async def test_no_other_is_and_nobody_learns_whether_it_exists(refused, put_secret, grant):
    missing = await refused(**ELSEWHERE)
    assert missing[0] == "KeyNotAllowed"
    put_secret("app", "vault", KEY, **grant)
    assert await refused(**ELSEWHERE) == missing
    put_secret("app", "vault", {}, **grant)
    assert await refused(**ELSEWHERE) == missing


async def test_a_key_elsewhere_signs_for_the_api_that_its_secret_names(ask, refused, put_secret):
    """The receiver of a signature can do more with it than a cluster may."""
    put_secret("app", "vault", KEY, labels={ALLOW: "ns"})
    own = ELSEWHERE | {"apiURL": "https://attacker.example/api/v3"}
    assert (await refused(**own))[0] == "KeyNotAllowed"
    put_secret("app", "vault", KEY, labels={ALLOW: "ns"}, annotations={API_URL: "https://ghe.example/api/v3/"})
    assert (await refused(**ELSEWHERE))[0] == "KeyNotAllowed"
    assert await ask(**ELSEWHERE | {"apiURL": "https://ghe.example/api/v3"})


async def test_a_key_of_the_own_namespace_needs_no_grant(ask, put_secret):
    put_secret("app", data=KEY)
    assert await ask(apiURL="https://ghe.example/api/v3")
    assert await ask(privateKeyRef={"name": "app", "namespace": "ns"})


async def test_what_is_missing_is_named(refused, put_secret):
    assert await refused() == ("KeyNotFound", "Secret app does not exist")
    put_secret("app", data=encoded(other=b"x", empty=b""))
    assert await refused() == ("KeyNotFound", "Secret app has no key private-key.pem, or nothing in it")
    assert (await refused(privateKeyRef={"name": "app", "key": "empty"}))[0] == "KeyNotFound"
    put_secret("app", data=KEY)
    assert await refused(caSecretRef={"name": "ca"}) == ("CANotFound", "Secret ca does not exist")
    put_secret("ca")
    assert (await refused(caSecretRef={"name": "ca"}))[0] == "CANotFound"
