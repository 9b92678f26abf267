"""Who may use /mcp, and what it refuses before the protocol begins."""

import asyncio

import orjson
import pytest
from mcp.shared.exceptions import MCPError

from swarm_operator.memory.service.mcp import endpoint

HELLO = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}  # fmt: skip
JSON = {"content_type": "application/json", "accept": "application/json, text/event-stream"}


async def test_without_a_valid_token_nothing_answers(service):
    for token in (None, "wrong", ""):
        answer = await service.call("POST", "/mcp", HELLO, token=token, **JSON)
        assert (answer.status, answer.json["type"]) == (401, "urn:swarm-memory:problem:unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        for method in ("GET", "DELETE", "OPTIONS"):
            assert (await service.call(method, "/mcp", token=token, **JSON)).status == 401
    assert (await service.call("POST", "/mcp", HELLO, **JSON)).status == 200


async def test_when_it_cannot_be_loaded_the_other_routes_go_on(start_service, monkeypatch):
    monkeypatch.setattr(endpoint, "_SERVER", "swarm_operator.memory.service.mcp.missing")
    async with start_service(mcp=True) as service:
        for _ in range(2):
            answer = await service.call("POST", "/mcp", HELLO, **JSON)
            assert (answer.status, answer.json["type"]) == (500, "urn:swarm-memory:problem:internal")
        await service.put("n/k", 1)
        assert (await service.call("GET", "/readyz", token=None)).status == 200


async def test_without_a_token_the_official_client_is_told_so(service, connecting):
    with pytest.raises((ExceptionGroup, MCPError)):
        async with connecting(service.port, token="wrong"):
            pass


async def test_switched_off_there_is_no_such_path(start_service):
    async with start_service() as service:
        answer = await service.call("POST", "/mcp", HELLO, **JSON)
        assert (answer.status, answer.json["type"]) == (404, "urn:swarm-memory:problem:not-found")


async def test_a_page_of_another_origin_is_refused(start_service):
    async with start_service(mcp=True, mcp_allowed_origins=("https://ok.example",)) as service:
        answer = await service.call("POST", "/mcp", HELLO, origin="https://evil.example", **JSON)
        assert (answer.status, answer.json["type"]) == (403, "urn:swarm-memory:problem:forbidden")
        assert "--mcp-allowed-origins" in answer.json["detail"]
        assert (await service.call("POST", "/mcp", HELLO, origin="https://ok.example", **JSON)).status == 200
        assert (await service.call("POST", "/mcp", HELLO, origin="https://ok.example.evil", **JSON)).status == 403


@pytest.mark.parametrize(
    ("listening", "asked", "status"),
    [
        ("127.0.0.1", "127.0.0.1:8080", 200),
        ("127.0.0.1", "localhost", 200),
        ("127.0.0.1", "[::1]:8080", 200),
        ("127.0.0.1", "rebound.example:8080", 403),
        ("127.0.0.1", "", 403),
        ("127.0.0.1", "[::1", 403),
        ("127.0.0.1", "localhost.evil.example", 403),
        ("127.0.0.1", "evil@localhost", 403),
        ("0.0.0.0", "s-memory.swarm.svc:8080", 200),
        ("::", "s-memory.swarm.svc.cluster.local:8080", 200),
    ],
)
async def test_on_the_loopback_interface_only_its_own_names_are_served(start_service, listening, asked, status):
    async with start_service(mcp=True, host=listening) as service:
        body = orjson.dumps(HELLO)
        lines = [
            "POST /mcp HTTP/1.1", f"Host: {asked}", "Connection: close", "Content-Type: application/json",
            "Accept: application/json, text/event-stream", "Authorization: Bearer client-0123456789abcdef",
            f"Content-Length: {len(body)}", "", "",
        ]  # fmt: skip
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write("\r\n".join(lines).encode() + body)
        head = await reader.readline()
        writer.close()
        assert int(head.split()[1]) == status


async def test_bodies_have_the_limits_of_http(start_service):
    async with start_service(mcp=True, max_body_bytes=2000) as service:
        answer = await service.call("POST", "/mcp", {**HELLO, "pad": "x" * 2000}, **JSON)
        assert (answer.status, answer.json["type"]) == (413, "urn:swarm-memory:problem:body-too-large")
        answer = await service.call("POST", "/mcp", HELLO, content_encoding="gzip", **JSON)
        assert answer.status == 415
        assert (await service.call("PUT", "/mcp", HELLO, **JSON)).status == 405


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b'{"jsonrpc":"2.0"}', b"\xff", b"[" * 100_000])
async def test_what_is_no_message_is_refused_and_the_service_goes_on(service, body):
    answer = await service.call("POST", "/mcp", body, **JSON)
    assert 400 <= answer.status < 500, answer
    assert (await service.call("POST", "/mcp", HELLO, **JSON)).status == 200
    assert 'swarm_memory_errors_total{code="internal"} 0.0' in await service.metrics()


async def test_an_unknown_tool_is_an_error_of_the_protocol(mcp):
    with pytest.raises(MCPError, match="there is no tool 'memory_teleport'"):
        await mcp.client.call_tool("memory_teleport", {})
    assert (await mcp.call("memory_stats"))["entries"] == 0


async def test_a_session_belongs_to_the_role_that_opened_it(service):
    opened = await service.call("POST", "/mcp", HELLO, **JSON)
    session = opened.headers["mcp-session-id"]
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    answer = await service.call("POST", "/mcp", ping, mcp_session_id=session, **JSON)
    assert answer.status == 200
    answer = await service.call("POST", "/mcp", ping, token="admin-0123456789abcdef", mcp_session_id=session, **JSON)
    assert answer.status == 404


async def test_two_sessions_at_once_keep_to_themselves_and_share_the_memory(service, connecting):
    async with connecting(service.port) as one, connecting(service.port) as two:
        await asyncio.gather(*(
            who.call("memory_store", key=f"{name}-{number}", value=name)
            for number in range(20) for name, who in (("one", one), ("two", two))
        ))  # fmt: skip
        assert (await one.call("memory_retrieve", key="two-19"))["value"] == "two"
        assert len((await two.call("memory_list", namespace="default"))["entries"]) == 40
    assert (await service.store.stats()).entries == 40


async def test_calls_are_counted_by_tool_and_outcome_and_timed_as_http_is(mcp, service):
    await mcp.call("memory_store", key="k", value=1)
    await mcp.fail("memory_store", key="k")
    await mcp.call("memory_retrieve", key="k")
    await mcp.call("memory_list")
    await mcp.call("memory_list", namespace="default")
    with pytest.raises(MCPError):
        await mcp.client.call_tool("nothing", {})
    metrics = await service.metrics()
    for line in (
        'swarm_memory_mcp_calls_total{outcome="ok",tool="memory_store"} 1.0',
        'swarm_memory_mcp_calls_total{outcome="refused",tool="memory_store"} 1.0',
        'swarm_memory_mcp_calls_total{outcome="failed",tool="memory_store"} 0.0',
        'swarm_memory_mcp_calls_total{outcome="refused",tool="other"} 1.0',
        'swarm_memory_operation_duration_seconds_count{operation="put"} 1.0',
        'swarm_memory_operation_duration_seconds_count{operation="get"} 1.0',
        'swarm_memory_operation_duration_seconds_count{operation="namespaces"} 1.0',
        'swarm_memory_operation_duration_seconds_count{operation="list"} 1.0',
        'swarm_memory_errors_total{code="invalid-input"} 1.0',
        'swarm_memory_http_requests_total{code="200",method="POST",route="/mcp"}',
    ):
        assert line in metrics, line


async def test_a_body_that_would_stop_the_event_loop_is_refused(start_service):
    async with start_service(mcp=True, mcp_max_body_bytes=1_000_000) as service:
        long = {**HELLO, "note": "x" * 1_000_000}
        answer = await service.call("POST", "/mcp", long, **JSON)
        assert (answer.status, answer.json["type"]) == (413, "urn:swarm-memory:problem:body-too-large")
        answer = await service.call("POST", "/mcp", {**HELLO, "note": [[]] * 60_000}, **JSON)
        assert (answer.status, answer.json["field"]) == (400, "body")
        assert (await service.call("POST", "/mcp", {**HELLO, "note": [0] * 60_000}, **JSON)).status == 200
