"""GitHub tokens of a SwarmCluster against a real API server, with a GitHub server of the test's and a real git."""

from __future__ import annotations

import asyncio
import base64
import os

import pytest
import yaml
from support.controlplane import TOP
from support.github import APP, GitHub, private_key

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.errors import InvalidError

CLUSTER, SECRET = kinds.SWARM_CLUSTER, kinds.SECRET
ROTATE = "swarm.claudeflow.io/rotate-token"


@pytest.fixture
async def github(tmp_path):
    server = GitHub(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def secret(objects):
    async def make(name, **files):
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": objects.namespace},
            "data": {file: base64.b64encode(text).decode() for file, text in files.items()},
        }
        return await objects.client.create(SECRET, body, field_manager="user")

    return make


@pytest.fixture
async def app(github, secret):
    """The spec of an App, and the Secrets that it needs."""
    await secret("github-app", **{"private-key.pem": private_key()})
    await secret("github-ca", **{"ca.crt": github.ca.encode()})
    return {
        "appID": APP,
        "privateKeyRef": {"name": "github-app"},
        "apiURL": github.api_url,
        "caSecretRef": {"name": "github-ca"},
        "repositories": ["bees/hive"],
    }


@pytest.fixture
def token(objects):
    async def read():
        found = await objects.get(SECRET, "c-github-token")
        return base64.b64decode(found["data"]["token"]).decode()

    return read


async def test_a_token_is_minted_used_by_git_replaced_and_revoked(
    objects, start_operator, eventually, github, app, token, tmp_path
):
    operator = start_operator()
    spec = {"memory": {"enableMemoryStore": True, "size": "1Gi"}, "agentTemplate": {}, "githubApp": app}
    await objects.apply(CLUSTER, "c", spec)
    await eventually(lambda: objects.get(kinds.STATEFUL_SET, "c-memory"))
    await objects.pretend_ready("c-memory")
    first = await eventually(token)
    files = (await eventually(lambda: objects.get(kinds.CONFIG_MAP, "c-agent")))["data"]
    assert await clones(github, files["gitconfig"], await objects.get(SECRET, "c-github-token"), tmp_path)

    async def says(status, reason):
        found = await objects.condition(CLUSTER, "c", "GitHubTokenReady")
        return (found["status"], found["reason"]) == (status, reason)

    await eventually(lambda: says("True", "TokenValid"))
    asked = {"metadata": {"annotations": {ROTATE: "true"}}}
    await objects.client.merge(CLUSTER, objects.namespace, "c", asked, field_manager="kubectl")

    async def replaced():
        annotations = (await objects.get(CLUSTER, "c"))["metadata"].get("annotations") or {}
        return await token() != first and ROTATE not in annotations

    await eventually(replaced)
    # A repository that the App cannot see: the token of before stays, and everything else goes on.
    kept = await token()
    hidden = {"spec": {"githubApp": app | {"repositories": ["bees/wax"]}, "agents": 2}}
    await objects.client.merge(CLUSTER, objects.namespace, "c", hidden, field_manager="kubectl")
    await eventually(lambda: says("False", "RepositoryNotFound"))

    async def scaled():
        return (await objects.get(kinds.STATEFUL_SET, "c-agent"))["spec"]["replicas"] == 2

    await eventually(scaled)
    assert await token() == kept
    await objects.delete(CLUSTER, "c")
    await eventually(lambda: objects.missing(CLUSTER, "c"))
    assert kept not in github.tokens
    assert await objects.missing(SECRET, "c-github-token")
    operator.terminate()
    logged = operator.log.read_text()
    assert "a GitHub token was minted" in logged
    assert not [minted for minted in github.minted if minted in logged]


async def clones(github, config, found, folder):
    """Clone as an agent does, with what it mounts."""
    mounted = folder / "mounted"
    mounted.mkdir()
    for name, value in found["data"].items():
        (mounted / name).write_bytes(base64.b64decode(value))
    (mounted / "gitconfig").write_text(config.replace("/etc/swarm-github", str(mounted)))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_SYSTEM": str(mounted / "gitconfig"),
        "GIT_TERMINAL_PROMPT": "0",
    }
    for arguments in (
        ("init", "--bare", "--quiet", str(github.repositories / "hive.git")),
        ("-c", "http.proxy=", "clone", "--quiet", f"https://{github.host}/bees/hive.git", str(folder / "clone")),
    ):
        process = await asyncio.create_subprocess_exec("git", *arguments, env=environment)
        assert await process.wait() == 0
    return (folder / "clone" / ".git").is_dir()


async def test_the_example_waits_for_its_key_and_the_swarm_is_made(objects, control_plane, start_operator, eventually):
    start_operator()
    applied = control_plane.kubectl_run("-n", objects.namespace, "apply", "-f", str(TOP / "examples/github-app.yaml"))
    assert applied.returncode == 0, applied.stderr

    async def told():
        found = await objects.condition(CLUSTER, "coders", "GitHubTokenReady")
        return (found["status"], found["reason"]) == ("False", "KeyNotFound")

    await eventually(told)
    assert await eventually(lambda: objects.get(kinds.SWARM_MEMORY_STORE, "coders-memory"))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"apiURL": "http://github.example/api/v3"}, "apiURL"),
        ({"apiURL": "https://user:password@github.example"}, "apiURL"),
        ({"apiURL": "https://github.example/api?x=1"}, "apiURL"),
        ({"tokenTTL": "2h"}, "must be at most 1h"),
        ({"tokenTTL": "1m"}, "must be at least 5m"),
        ({"repositories": ["app"]}, "repositories"),
        ({"repositories": []}, "repositories"),
        ({"repositories": ["a/app", "ab/app"]}, "must all have the same owner"),
        ({"permissions": {"Contents": "read"}}, "must have names of GitHub's permissions"),
        ({"permissions": {}}, "must have names of GitHub's permissions"),
        ({"permissions": {"contents": "owner"}}, "permissions"),
        ({"appID": 0}, "appID"),
        ({"privateKeyRef": {"name": "a", "namespace": "kube-system"}}, "cannot be a namespace of Kubernetes"),
    ],
)
async def test_what_is_wrong_is_refused_with_its_field(objects, field, said):
    example = yaml.safe_load((TOP / "examples/github-app.yaml").read_text())["spec"]["githubApp"]
    with pytest.raises(InvalidError, match=said):
        await objects.apply(CLUSTER, "bad", {"githubApp": example | field})
