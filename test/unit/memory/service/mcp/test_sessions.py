"""Each token has its share of sessions, sessions end when their clients or rights have gone, and none is silent."""

import asyncio
import contextlib
import json

import pytest
from mcp.shared.exceptions import MCPError

from swarm_operator.memory.service.access.rights import Credential, Principal
from swarm_operator.memory.service.mcp import sessions
from swarm_operator.memory.service.mcp.dispatcher import ToolDispatcher
from swarm_operator.memory.service.quotas import Quota

CLIENT, ADMIN, READER = "client-0123456789abcdef", "admin-0123456789abcdef", "reader-0123456789abcdef"
TEAM = "team-0123456789abcdef"
TOKENS = {
    "tokens": [
        {"name": "reader", "token": READER, "access": "read"},
        {"name": "team", "token": TEAM, "access": "write", "namespaces": ["team"]},
    ]
}
JSON = {"content_type": "application/json", "accept": "application/json, text/event-stream"}

pytestmark = pytest.mark.filterwarnings("ignore:resources/:mcp.shared.exceptions.MCPDeprecationWarning")


def message(method, number=2, **params):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


HELLO = message(
    "initialize", 1, protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "t", "version": "1"}
)


@pytest.fixture
def start(start_service, tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tokens.json").write_text(json.dumps(TOKENS))
    return lambda **settings: start_service(mcp=True, **settings)


@pytest.fixture
async def service(start, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0.0)
    async with start() as running:
        yield running


async def begin(service, token=CLIENT):
    """The ID of a new session, or the answer that refuses it."""
    answer = await service.call("POST", "/mcp", HELLO, token=token, **JSON)
    return answer.headers["mcp-session-id"] if answer.status == 200 else answer


async def ask(service, session, method="ping", *, token=CLIENT, **params):
    return await service.call("POST", "/mcp", message(method, **params), token=token, mcp_session_id=session, **JSON)


@contextlib.asynccontextmanager
async def streaming(service, session, token=CLIENT):
    """A session's open stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    lines = [
        "GET /mcp HTTP/1.1", "Host: localhost", "Connection: close", f"Authorization: Bearer {token}",
        "Accept: text/event-stream", f"Mcp-Session-Id: {session}", "", "",
    ]  # fmt: skip
    writer.write("\r\n".join(lines).encode())
    assert b" 200 " in (await reader.readuntil(b"\r\n\r\n")).splitlines()[0]
    yield reader
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_one_more_session_than_its_share_ends_the_token_s_own_oldest_idle_one(start):
    async with start(mcp_max_sessions=4) as service:
        of_reader = await begin(service, READER)
        first, second = await begin(service), await begin(service)
        assert (await ask(service, first)).status == 200
        third = await begin(service)
        assert (await ask(service, second)).status == 404
        assert (await ask(service, first)).status == (await ask(service, third)).status == 200
        assert (await ask(service, of_reader, token=READER)).status == 200
        assert service.quotas.sessions.held == 3


async def test_sessions_with_open_streams_stay_and_one_more_is_refused(start):
    async with start(mcp_max_sessions=4) as service, contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(streaming(service, await begin(service)))
        refused = await begin(service)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "MCP sessions: the token client holds 2" in refused.json["detail"]
        assert isinstance(await begin(service, READER), str)
        assert "MCP sessions: all tokens hold 3" in (await begin(service, TEAM)).json["detail"]
        assert isinstance(await begin(service, ADMIN), str)


@pytest.mark.parametrize("number", [7, "7"])
async def test_a_request_with_an_id_that_is_in_use_is_refused_and_the_other_is_answered(service, monkeypatch, number):
    calls, go = asyncio.Queue(), asyncio.Event()
    call = ToolDispatcher.call

    async def waiting(*arguments):
        calls.put_nowait(arguments)
        await go.wait()
        return await call(*arguments)

    monkeypatch.setattr(ToolDispatcher, "call", waiting)
    session, other = await begin(service), await begin(service)

    async def send(of, number):
        body = message("tools/call", number, name="memory_list", arguments={"namespace": "n"})
        return await service.call("POST", "/mcp", body, mcp_session_id=of, **JSON)

    first = asyncio.create_task(send(session, 7))
    await calls.get()
    second, another = asyncio.create_task(send(session, number)), asyncio.create_task(calls.get())
    await asyncio.wait([second, another], return_when=asyncio.FIRST_COMPLETED)
    assert not another.done()
    another.cancel()
    refused = await second
    assert (refused.status, refused.json["id"], refused.json["error"]["code"]) == (400, number, -32600)
    assert "another id" in refused.json["error"]["message"]
    go.set()
    assert (await first).json["id"] == 7
    for of in (session, other):
        assert (await send(of, number)).json["result"]["isError"] is False


async def test_the_id_of_the_streams_own_messages_is_refused(service):
    """The package would answer such a request on the session's stream, and the request itself never."""
    session = await begin(service)
    body = message("ping", "_GET_stream")
    assert (await service.call("POST", "/mcp", body, mcp_session_id=session, **JSON)).status == 400


async def test_a_request_that_opens_no_session_holds_none(service):
    for body in (message("ping"), b"{", b"[]"):
        assert (await service.call("POST", "/mcp", body, **JSON)).status == 400
    assert (await service.call("GET", "/mcp", **JSON)).status == 400
    assert service.quotas.sessions.held == 0


async def test_a_session_that_its_client_ends_is_given_back(service):
    session = await begin(service)
    assert (await service.call("DELETE", "/mcp", token=READER, mcp_session_id=session)).status == 404
    assert service.quotas.sessions.held == 1
    assert (await service.call("DELETE", "/mcp", mcp_session_id=session)).status == 200
    assert service.quotas.sessions.held == 0
    assert (await ask(service, session)).status == 404


async def test_an_idle_session_ends(start, eventually):
    async with start(mcp_idle=0.05) as service:
        session = await begin(service)

        async def ended():
            return service.quotas.sessions.held == 0

        await eventually(ended)
        assert (await ask(service, session)).status == 404


async def test_a_session_that_was_only_opened_and_one_whose_stream_has_closed_end_sooner():
    async def package(scope, _receive, send):
        headers = [(b"mcp-session-id", b"s1")] if scope["method"] == "POST" and not scope["headers"] else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def request(method, *headers):
        async def send(_):
            assert kept._open["s1"].timer is None, "it does not end during a request"

        scope = {"type": "http", "method": method, "path": "/mcp", "headers": list(headers), "user": None}
        await kept.serve(Credential(Principal("client"), lambda: True), scope, b"", None, send)
        return round(kept._open["s1"].timer.when() - asyncio.get_running_loop().time())

    kept = sessions.Sessions(package, quota=Quota("sessions", 8), idle=1800.0)
    number = (b"mcp-session-id", b"s1")
    assert await request("POST") == 300
    assert await request("POST", number) == 1800
    assert await request("GET", number) == 300
    assert await request("POST", number) == 1800
    await kept.stop()


async def test_a_session_ends_with_the_token_that_opened_it(service):
    session = await begin(service)
    (service.tokens / "client-token").write_text("rotated-0123456789")
    answer = await ask(service, session, "resources/subscribe", token="rotated-0123456789", uri="memory://n")
    assert answer.status == 404, "a subscription is refused, or it delivers"
    assert service.quotas.sessions.held == 0


async def test_a_subscription_after_a_rotation_delivers(service):
    async with asyncio.timeout(60):
        former = await begin(service)
        async with streaming(service, former) as old:
            assert (await ask(service, former, "resources/subscribe", uri="memory://n")).status == 200
            (service.tokens / "client-token").write_text("rotated-0123456789")
            await service.store.put("n", "first", 1)
            assert b"resources/updated" not in await old.read(), "the stream of the former token ends without a word"
        rotated = {"token": "rotated-0123456789"}
        assert (await ask(service, former, "resources/subscribe", uri="memory://n", **rotated)).status == 404
        session = await begin(service, **rotated)
        async with streaming(service, session, **rotated) as new:
            assert (await ask(service, session, "resources/subscribe", uri="memory://n", **rotated)).status == 200
            await service.store.put("n", "second", 1)
            assert b"memory://n" in await new.readuntil(b"memory://n")


async def test_a_session_ends_when_the_rights_of_its_token_change(service):
    session = await begin(service, TEAM)
    other = {"tokens": [{**TOKENS["tokens"][1], "namespaces": ["else"]}]}
    (service.tokens / "tokens.json").write_text(json.dumps(other))
    assert (await ask(service, session, token=TEAM)).status == 404


async def test_subscriptions_of_a_session_need_the_right_to_read(service):
    session = await begin(service, TEAM)

    async def subscribe(uri):
        return (await ask(service, session, "resources/subscribe", token=TEAM, uri=uri)).json

    assert (await subscribe("memory://team/k"))["result"] == {}
    for uri in ("memory://other", "memory://other/k", "memory://namespaces"):
        assert (await subscribe(uri))["error"]["data"]["code"] == "forbidden"
    assert service.quotas.listeners.held == 1


async def test_listening_needs_the_right_to_read(service, connecting):
    async with connecting(service.port, era="2026-07-28", token=TEAM) as mcp:
        for uri in ("memory://other", "memory://other/k", "memory://namespaces"):
            with pytest.raises(MCPError, match="may not"):
                async with mcp.client.listen(resource_subscriptions=["memory://team", uri]):
                    pass
        async with mcp.client.listen(resource_subscriptions=["memory://team"]) as events:
            assert list(events.honored.resource_subscriptions) == ["memory://team"]
