"""`memory://...`: addresses, pages, and who is told of changes."""

import asyncio
import contextlib
import itertools

import pytest
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import ResourceUpdatedNotification

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.mcp import uris

# Of the era with sessions, which the official client calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:resources/:mcp.shared.exceptions.MCPDeprecationWarning")

ODD = ["a/b", "swarm:tasks", "..", ".", "...", "namespaces", "ü ?#&", "%2F", "日本", "MixedCase", "\x01", "a?cursor=x"]


@pytest.mark.parametrize("name", ODD)
def test_an_address_says_which_entry_it_is_whatever_the_names_are(name):
    assert uris.parse(uris.render(name)) == uris.Address(name)
    assert uris.parse(uris.render(name, name)) == uris.Address(name, name)
    assert uris.render(name, name).isascii()


def test_an_address_is_as_it_is_documented():
    assert uris.render("swarm:tasks", "task:t1") == "memory://swarm%3Atasks/task%3At1"
    assert uris.render("namespaces") == "memory://%6Eamespaces"
    assert uris.render("n", "..") == "memory://n/%2E%2E"


@pytest.mark.parametrize(
    "uri",
    [
        "", "memory:", "memory://", "http://n/k", "memory:///k", "memory://n/", "memory://%", "memory://%ff",
        "memory://n/%00", "memory://n?x=1", "memory://n/k?offset=-1", "memory://n/k?offset=x", "memory://ü/k",
        "memory://" + "n" * 256, "memory://n?cursor=a&cursor=b",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(uri):
    with pytest.raises(InvalidInputError):
        uris.parse(uri)


async def test_namespaces_are_listed_in_pages_and_each_entry_can_be_read(mcp, service):
    for name in ODD:
        await service.store.put(name, name, [name])
    for number in range(150):
        await service.store.put(f"n{number:03}", "k", number)
    found, cursor = [], None
    while True:
        page = await mcp.client.list_resources(cursor=cursor)
        assert len(page.resources) <= 101
        found += page.resources
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found[0].uri == "memory://namespaces"
    assert {resource.name for resource in found[1:]} == {*ODD, *(f"n{number:03}" for number in range(150))}
    assert len({resource.uri for resource in found}) == len(found) == 1 + len(ODD) + 150
    for resource in found[1:]:
        if resource.name not in ODD and not resource.name.endswith("9"):
            continue  # one of ten
        document = await mcp.read(resource.uri)
        (entry,) = document["entries"]
        assert (document["namespace"], document["next"]) == (resource.name, None)
        whole = await mcp.read(uris.render(resource.name, entry["key"]))
        assert (whole["namespace"], whole["key"]) == (resource.name, entry["key"])
        if resource.name in ODD:
            assert whole["value"] == [resource.name]
    names, uri = [], "memory://namespaces"
    while uri:
        document = await mcp.read(uri)
        names += [each["namespace"] for each in document["namespaces"]]
        uri = document["next"]
    assert sorted(names) == sorted(resource.name for resource in found[1:])


async def test_templates_say_how_addresses_are_made(mcp):
    templates = (await mcp.client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == [
        "memory://{namespace}{?cursor}", "memory://{namespace}/{key}{?offset}"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("memory://none", "not-found"),
        ("memory://n/none", "not-found"),
        ("other://n", "invalid-input"),
        ("memory://n?cursor=!", "invalid-input"),
    ],
)
async def test_what_cannot_be_read_is_said_with_the_service_s_code(mcp, uri, code):
    with pytest.raises(MCPError) as caught:
        await mcp.client.read_resource(uri)
    assert caught.value.error.code == -32602
    assert caught.value.error.data["code"] == code


async def test_a_bad_cursor_of_the_list_is_refused(mcp):
    with pytest.raises(MCPError) as caught:
        await mcp.client.list_resources(cursor="?")
    assert caught.value.error.data["field"] == "cursor"


async def test_reading_counts_as_the_operation_that_it_is(mcp, service):
    await service.store.put("n", "k", 1)
    for uri in ("memory://namespaces", "memory://n", "memory://n/k"):
        await mcp.read(uri)
    with pytest.raises(MCPError):
        await mcp.client.read_resource("memory://n/k?x=1")
    metrics = await service.metrics()
    for operation in ("namespaces", "list", "get"):
        assert f'swarm_memory_operation_duration_seconds_count{{operation="{operation}"}} 1.0' in metrics
    assert 'swarm_memory_errors_total{code="invalid-input"} 1.0' in metrics


class Told:
    """Remembers which resources were said to have changed."""

    def __init__(self):
        self.uris = []
        self.changed = asyncio.Event()

    async def __call__(self, message):
        if isinstance(message, ResourceUpdatedNotification):
            self.uris.append(message.params.uri)
            self.changed.set()

    async def until(self, *wanted):
        """Wait until these were told since the last call."""
        async with asyncio.timeout(60):
            while not set(wanted) <= set(self.uris):
                self.changed.clear()
                await self.changed.wait()
        told, self.uris = self.uris, []
        return set(told)


async def stream_is_open(service):
    """The client opens its stream when the session is made, and doesn't wait for it."""
    await shown(service, 'method="GET",route="/mcp"')


async def shown(service, line):
    """Wait until the metrics have this."""
    async with asyncio.timeout(60):
        for _ in itertools.count():
            if line in await service.metrics():
                return
            await asyncio.sleep(0.01)


async def test_a_session_is_told_what_it_has_subscribed_to_and_nothing_else(service, connecting):
    told = Told()
    async with connecting(service.port, message_handler=told) as mcp:
        await stream_is_open(service)
        for uri in ("memory://n/k", "memory://m", "memory://namespaces", "memory://swarm%3Atasks/task%3At1"):
            await mcp.client.subscribe_resource(uri)
        await service.store.put("n", "k", 1)
        assert await told.until("memory://n/k", "memory://namespaces") == {"memory://n/k", "memory://namespaces"}
        await mcp.client.unsubscribe_resource("memory://namespaces")
        await service.put("m/other", 1)
        assert await told.until("memory://m") == {"memory://m"}
        await mcp.call("task_create", id="t1")
        assert await told.until("memory://swarm%3Atasks/task%3At1") == {"memory://swarm%3Atasks/task%3At1"}
        await service.store.delete("n", "k")
        assert await told.until("memory://n/k") == {"memory://n/k"}
        await mcp.client.unsubscribe_resource("memory://n/k")
        await mcp.client.unsubscribe_resource("memory://never")
        await service.store.put("n", "k", 2)
        await service.store.put("m", "k", 2)
        assert await told.until("memory://m") == {"memory://m"}


async def test_one_that_stands_alone_listens_by_a_request(service, connecting):
    async with connecting(service.port, era="2026-07-28") as mcp:
        async with mcp.client.listen(resource_subscriptions=["memory://n/k", "memory://m"]) as events:
            assert set(events.honored.resource_subscriptions) == {"memory://n/k", "memory://m"}
            await service.store.put("x", "k", 1)
            await service.store.put("n", "k", 1)
            async with asyncio.timeout(60):
                assert await anext(events) == ResourceUpdated("memory://n/k")
                await service.store.put("m", "k", 1)
                assert await anext(events) == ResourceUpdated("memory://m")
            assert "swarm_memory_mcp_subscribers 1.0" in await service.metrics()
        await shown(service, "swarm_memory_mcp_subscribers 0.0")


async def test_bad_subscriptions_are_refused(service, connecting):
    async with connecting(service.port) as mcp:
        for uri in ("other://n", "memory://n/k?offset=5", "memory://"):
            with pytest.raises(MCPError):
                await mcp.client.subscribe_resource(uri)
        for number in range(100):
            await mcp.client.subscribe_resource(f"memory://n/k{number}")
        with pytest.raises(MCPError, match=r"too many subscriptions of one client \(limit: 100\)"):
            await mcp.client.subscribe_resource("memory://n/k100")
        await mcp.client.unsubscribe_resource("memory://n/k0")
        await mcp.client.subscribe_resource("memory://n/k100")


async def test_a_session_s_subscriptions_end_with_it(service, connecting):
    async with connecting(service.port) as mcp:
        await mcp.client.subscribe_resource("memory://n/k")
        assert "swarm_memory_mcp_subscribers 1.0" in await service.metrics()
    await shown(service, "swarm_memory_mcp_subscribers 0.0")


async def test_listeners_are_limited(start_service, connecting):
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(start_service(mcp=True, mcp_max_sessions=2))
        mcp = await stack.enter_async_context(connecting(service.port, era="2026-07-28"))
        await stack.enter_async_context(mcp.client.listen(resource_subscriptions=["memory://n"]))
        with pytest.raises(MCPError, match="the share of one token is 1 of 2"):
            await stack.enter_async_context(mcp.client.listen(resource_subscriptions=["memory://n"]))
