"""Tokens of the client: that of a service account, whose file the kubelet renews, and their secrecy."""

import pytest
from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader
from unit.runtime.conftest import events_of

from swarm_operator.runtime import errors
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.credentials import of_token_file
from swarm_operator.runtime.kubernetes_asyncio import Configuration


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text("first")
    return path


@pytest.fixture
async def client(server, token_file, tmp_path):
    (tmp_path / "ca.crt").write_text("not read by this test")
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    configuration = Configuration()
    InClusterConfigLoader(
        str(token_file), str(tmp_path / "ca.crt"), try_refresh_token=False, environ=environ
    ).load_and_set(configuration)
    configuration.refresh_api_key_hook = of_token_file(token_file)
    configuration.host, configuration.ssl_ca_cert = server.url, None
    async with Client(configuration) as client:
        yield client


async def test_every_request_carries_the_token(server, client, widgets, widget):
    server.then(server.json(widget()))
    await client.get(widgets, "ns", "a")
    assert server.asked[0].headers["Authorization"] == "Bearer first"


async def test_a_401_reads_the_file_again_and_tries_once_more(server, client, widgets, widget, token_file):
    server.then(server.status(401, "Unauthorized"), server.json(widget()))
    token_file.write_text("second")
    assert await client.get(widgets, "ns", "a") == widget()
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]


async def test_a_watch_reads_the_file_again_too(server, client, widgets, token_file):
    server.then(server.status(401), server.stream({"type": "BOOKMARK"}))
    token_file.write_text("second")
    assert await events_of(client, widgets) == [{"type": "BOOKMARK"}]
    assert server.asked[1].headers["Authorization"] == "Bearer second"


async def test_a_second_401_is_an_error(server, client, widgets):
    server.then(server.status(401), server.status(401, message="who are you"))
    with pytest.raises(errors.UnauthorizedError, match="who are you"):
        await client.get(widgets, "ns", "a")
    assert len(server.asked) == 2


async def test_a_token_without_a_file_is_tried_once_more(server, client, widgets, widget):
    client._tokens = None
    server.then(server.status(401), server.json(widget()))
    assert await client.get(widgets, "ns", "a") == widget()
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first"] * 2


@pytest.mark.parametrize("fault", ["missing", "empty"])
async def test_a_file_that_cannot_be_read_is_no_answer(server, client, widgets, token_file, fault):
    server.then(server.status(401), server.status(401))
    if fault == "missing":
        token_file.unlink()
    else:
        token_file.write_text("")
    with pytest.raises(errors.UnreachableError):
        await client.get(widgets, "ns", "a")
    with pytest.raises(errors.UnreachableError):
        await events_of(client, widgets)


async def test_a_token_never_appears_in_an_error_or_the_log(server, widgets, logged):
    configuration = Configuration()
    configuration.host = server.url
    configuration.api_key["BearerToken"] = "Bearer s3cr3t"
    server.then(server.status(403, message="no"), server.reset())
    async with Client(configuration) as client:
        for _ in range(2):
            with pytest.raises(errors.ApiError) as caught:
                await client.create(widgets, {"metadata": {"name": "a"}}, field_manager="me")
            assert "s3cr3t" not in repr(caught.value) + str(caught.value)
    assert "s3cr3t" not in str(logged)
