from datetime import timedelta

import pytest

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.swarmcluster.github.token_secret import Held, digest


@pytest.fixture
def cluster(cluster_object):
    def make(uid="u", **app):
        obj = cluster_object()
        obj["metadata"]["uid"] = uid
        obj["spec"]["githubApp"] = {"appID": 1, "privateKeyRef": {"name": "app"}, **app}
        return SwarmCluster.model_validate(obj)

    return make


@pytest.fixture
def left(clock):
    """Seconds until the token of a cluster is replaced."""

    def of(cluster, *, age=0.0, lifetime=3600.0):
        minted = clock.now()
        app = cluster.spec.github_app
        held = Held("t", None, "https://x", digest(app), minted, minted + timedelta(seconds=lifetime))
        return held.seconds_left(cluster, app, minted + timedelta(seconds=age))

    return of


@pytest.mark.parametrize(("ttl", "most"), [("45m", 2700), ("5m", 300), ("1h", 3000)])
def test_it_is_replaced_at_its_age_and_ten_minutes_before_its_end_at_the_latest(cluster, left, ttl, most):
    found = {left(cluster(f"uid-{number}", tokenTTL=ttl)) for number in range(50)}
    assert len(found) == 50, "not all at one time"
    assert most * 0.9 <= min(found) < most * 0.92
    assert most * 0.98 < max(found) <= most


def test_its_time_does_not_depend_on_when_it_is_looked_at(cluster, left):
    one = cluster()
    assert left(one, age=1000) == pytest.approx(left(one) - 1000)
    assert left(one, age=2700) == 0.0


def test_a_clock_that_jumped_makes_it_due(cluster, left):
    assert left(cluster(), age=-59) > 0
    assert left(cluster(), age=-61) == 0.0
    assert left(cluster(), age=10**6) == 0.0


@pytest.mark.parametrize("lifetime", [10.0, 0.0, -5.0])
def test_a_short_life_leads_to_no_storm(cluster, left, lifetime):
    assert left(cluster(), lifetime=lifetime) == 60.0


@pytest.mark.parametrize(
    "change",
    [
        {"appID": 2},
        {"installationID": 3},
        {"repositories": ["a/b"]},
        {"permissions": {"contents": "read"}},
        {"apiURL": "https://github.example/api/v3"},
    ],
)
def test_what_it_is_good_for_is_in_its_digest(cluster, change):
    assert digest(cluster().spec.github_app) != digest(cluster(**change).spec.github_app)


def test_an_order_or_a_slash_asks_for_nothing_new(cluster):
    one = cluster(repositories=["a/b", "a/c"], permissions={"contents": "read", "issues": "write"})
    other = cluster(
        repositories=["a/c", "a/b", "a/b"],
        permissions={"issues": "write", "contents": "read"},
        apiURL="https://api.github.com/",
    )
    assert digest(one.spec.github_app) == digest(other.spec.github_app)
