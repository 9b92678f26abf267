"""A GitHub server of the test's, a cluster that uses it, and its operator."""

import asyncio
import base64
import copy

import pytest
from support.github import APP, GitHub, private_key

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster import SwarmClusterReconciler
from swarm_operator.controllers.swarmcluster.github.api import GitHubApi
from swarm_operator.runtime.resource import Key

KEY, TOKEN_KEY = Key("ns", "hive"), Key("ns", "hive-github-token")
CLUSTER, SECRET = kinds.SWARM_CLUSTER, kinds.SECRET


def encoded(**data):
    return {name: base64.b64encode(value).decode() for name, value in data.items()}


@pytest.fixture
async def github(tmp_path, clock):
    server = GitHub(tmp_path, clock.now)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def api(clock):
    return GitHubApi(clock.now, user_agent="test")


@pytest.fixture
def put_secret(client):
    def put(name, namespace="ns", data=None, **metadata):
        metadata |= {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
        return client.put(SECRET, {"metadata": metadata, "data": data or {}})

    return put


@pytest.fixture
def asking(cluster_object, github, put_secret):
    """A cluster that asks for a token, and the Secrets that it needs."""
    put_secret("app", data=encoded(**{"private-key.pem": private_key()}))
    put_secret("enterprise", data=encoded(**{"ca.crt": github.ca.encode()}))

    def make(**app):
        obj = cluster_object(enableMemoryStore=True)
        obj["spec"]["githubApp"] = {
            "appID": APP,
            "privateKeyRef": {"name": "app"},
            "apiURL": github.api_url,
            "caSecretRef": {"name": "enterprise"},
        } | app
        return obj

    return make


@pytest.fixture
def reconciler(caching, recorder, clock, api):
    return SwarmClusterReconciler(caching, recorder, clock, image="swarm-memory:v1", github=api)


@pytest.fixture
def run(reconciler, cache, client, seen, monkeypatch):
    """Reconcile the cluster, and again when a call to GitHub has ended, unless `wait` is false. Returns the result."""
    ended = asyncio.Semaphore(0)
    both = (reconciler._mints, reconciler._revocations)
    for calls in both:
        monkeypatch.setattr(calls, "enqueue", lambda key: ended.release())
    (informer,) = cache.add(CLUSTER)

    async def once(obj=None, *, wait=True):
        if obj is not None:
            live = client.objects.get((CLUSTER, KEY), {})
            metadata = {**live.get("metadata", {}), **obj["metadata"]}
            metadata["generation"] = live.get("metadata", {}).get("generation", 0) + 1
            seen(CLUSTER, {**obj, "metadata": metadata, "status": live.get("status", {})})
        result = await reconciler.reconcile(KEY)
        while wait and any(progress.task for calls in both for progress in calls._known.values()):
            async with asyncio.timeout(60):
                await ended.acquire()
            result = await reconciler.reconcile(KEY)
        if (CLUSTER, KEY) in client.objects:
            informer.changed(copy.deepcopy(client.objects[CLUSTER, KEY]))
        return result

    return once


@pytest.fixture
def token(client):
    """The token in the Secret, or None."""

    def read():
        secret = client.objects.get((SECRET, TOKEN_KEY))
        return base64.b64decode(secret["data"]["token"]).decode() if secret else None

    return read


@pytest.fixture
def ready(conditions):
    """Status and reason of the condition GitHubTokenReady."""
    return lambda: conditions().get("GitHubTokenReady")
