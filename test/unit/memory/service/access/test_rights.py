"""What tokens with fewer rights may do, over each protocol."""

import asyncio
import contextlib
import inspect
import json

import grpc
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from unit.memory.conftest import ADMIN_TOKEN

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.duplicates import DuplicateRule
from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.core.store import EntryReads, EntryWrites, Store
from swarm_operator.memory.core.writes import Delete
from swarm_operator.memory.service.access.rights import AuthorizedStore, Credential, Principal
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.errors import ForbiddenError
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.service.grpc.server import GrpcServer
from swarm_operator.memory.service.http.openapi import OPERATIONS
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.swarm import Swarm

READER, TEAM, TEAM_READER = "reader-0123456789", "team-0123456789abc", "team-reader-012345"
FURTHER = {
    "tokens": [
        {"name": "reader", "token": READER, "access": "read"},
        {"name": "team", "token": TEAM, "access": "write", "namespaces": ["team", "also/mine"]},
        {"name": "team-reader", "token": TEAM_READER, "access": "read", "namespaces": ["team"]},
    ]
}
STORED = ("team", "team/notes", "teams", "other", "also/mine", "also", "swarm:tasks")


@pytest.fixture
async def service(start_service, tmp_path):
    """Running, with three further tokens and an entry `k` in each of STORED."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tokens.json").write_text(json.dumps(FURTHER))
    async with start_service(mcp=True) as running:
        for namespace in STORED:
            await running.store.put(namespace, "k", f"word in {namespace}", tags=["x"])
        yield running


PUT, OPERATION = {"value": 1}, {"op": "put", "key": "b", "value": 1}
CASES = [
    # method, path, body, statuses for READER, TEAM, TEAM_READER
    ("GET", "/v1/entries/team/k", None, 200, 200, 200),
    ("GET", "/v1/entries/team%2Fnotes/k", None, 200, 200, 200),
    ("GET", "/v1/entries/te%61m/k", None, 200, 200, 200),
    ("GET", "/v1/entries/teams/k", None, 200, 403, 403),
    ("GET", "/v1/entries/other/k", None, 200, 403, 403),
    ("GET", "/v1/entries/other/none", None, 404, 403, 403),
    ("HEAD", "/v1/entries/other/k", None, 200, 403, 403),
    ("GET", "/v1/entries/team%2F..%2Fother/k", None, 404, 404, 404),
    ("GET", "/v1/entries/also/k", None, 200, 403, 403),
    ("GET", "/v1/entries/also%2Fmine/k", None, 200, 200, 403),
    ("PUT", "/v1/entries/team/new", PUT, 403, 201, 403),
    ("PUT", "/v1/entries/team%2Fdeep%2Fdown/new", PUT, 403, 201, 403),
    ("PUT", "/v1/entries/other/new", PUT, 403, 403, 403),
    ("DELETE", "/v1/entries/team/k", None, 403, 204, 403),
    ("DELETE", "/v1/entries/other/k", None, 403, 403, 403),
    ("DELETE", "/v1/entries?namespace=team&prefix=", None, 403, 200, 403),
    ("DELETE", "/v1/entries?namespace=other&prefix=", None, 403, 403, 403),
    ("GET", "/v1/entries?namespace=team", None, 200, 200, 200),
    ("GET", "/v1/entries?namespace=other", None, 200, 403, 403),
    ("GET", "/v1/search?namespace=team&subtree=true", None, 200, 200, 200),
    ("GET", "/v1/search?namespace=other", None, 200, 403, 403),
    ("GET", "/v1/search?namespace=also&subtree=true", None, 200, 403, 403),
    ("POST", "/v1/search", {"namespace": "team", "vector": [1]}, 200, 200, 200),
    ("POST", "/v1/search", {"namespace": "other", "vector": [1]}, 200, 403, 403),
    ("GET", "/v1/stats", None, 200, 403, 403),
    ("GET", "/v1/swarm", None, 200, 403, 403),
    ("GET", "/v1/tasks", None, 200, 403, 403),
    ("GET", "/v1/tasks/k", None, 404, 403, 403),
    ("POST", "/v1/tasks", {"description": "d"}, 403, 403, 403),
    ("POST", "/v1/tasks/claim", {"agent": "a"}, 204, 403, 403),
    ("POST", "/v1/batch", {"operations": [{**OPERATION, "namespace": "team"}]}, 403, 200, 403),
    ("POST", "/v1/batch", {"operations": [{**OPERATION, "namespace": "team"}, {**OPERATION, "namespace": "other"}]},
     403, 403, 403),
    ("POST", "/v1/batch", {"atomic": False, "operations": [{**OPERATION, "namespace": "team"},
                                                           {"op": "delete", "namespace": "other", "key": "k"}]},
     403, 403, 403),
    ("POST", "/v1/batch", {"operations": [{"op": "get", "namespace": "other", "key": "k"}]}, 200, 403, 403),
    ("POST", "/v1/batch", {"operations": [{"op": "delete", "namespace": 7, "key": "k"}]}, 400, 400, 400),
    ("GET", "/v1/watch?namespace=other", None, None, 403, 403),
    ("GET", "/v1/export?namespace=other", None, 200, 403, 403),
    ("GET", "/v1/export?namespace=team", None, 200, 200, 200),
    ("POST", "/admin/gc", None, 403, 403, 403),
    ("POST", "/%61dmin/gc", None, 403, 403, 403),
    ("POST", "/admin/cleanup", None, 403, 403, 403),
    ("GET", "/admin/backup", None, 403, 403, 403),
    ("GET", "/admin/anything", None, 403, 403, 403),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]} {case[1]}")
async def test_http_answers_by_the_token_s_rights(service, case):
    method, path, body, *expected = case
    for token, status in zip((READER, TEAM_READER, TEAM), (expected[0], expected[2], expected[1]), strict=True):
        if status is None:  # a stream without an end
            continue
        answer = await service.call(method, path, body, token=token)
        assert answer.status == status, (token, answer.body)
        if status == 403 and method != "HEAD":
            assert answer.json["detail"] == "this token may not do that"
    for namespace in ("other", "swarm:tasks"):
        page = await service.store.list(namespace)
        assert [entry.key for entry in page.entries] == ["k"], "what was refused was not done"


async def export(service, token):
    async with httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        return (await http.get(f"http://127.0.0.1:{service.port}/v1/export?all=true")).content


async def test_what_names_no_namespace_covers_those_that_the_token_may_read(service):
    answer = (await service.call("GET", "/v1/namespaces", token=TEAM)).json
    assert [each["namespace"] for each in answer["namespaces"]] == ["also/mine", "team", "team/notes"]
    first = (await service.call("GET", "/v1/namespaces?limit=1", token=TEAM)).json
    second = (await service.call("GET", f"/v1/namespaces?limit=1&cursor={first['next_cursor']}", token=TEAM)).json
    assert second["namespaces"][0]["namespace"] == "team"
    for asked in ("tag=x", "text=word", "prefix=k", "updated_since=2026-01-01T00:00:00Z"):
        found = (await service.call("GET", f"/v1/search?{asked}", token=TEAM)).json
        assert {each["namespace"] for each in found["entries"]} == {"also/mine", "team", "team/notes"}
        assert found["searched"]["namespaces"] == "permitted"
        assert found["searched"]["within"] == ["team", "also/mine"]
        pages, cursor = [], ""
        while cursor is not None:
            page = (await service.call("GET", f"/v1/search?{asked}&limit=1{cursor}", token=TEAM)).json
            pages += [each["namespace"] for each in page["entries"]]
            cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        assert sorted(pages) == ["also/mine", "team", "team/notes"]
    exported = await export(service, TEAM)
    assert [json.loads(line)["namespace"] for line in exported.splitlines()[1:-1]] == [
        "also/mine", "team", "team/notes",
    ]  # fmt: skip


async def test_a_watch_of_everything_tells_of_what_the_token_may_read(service):
    told = []
    async with (
        httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {TEAM_READER}"}, timeout=60) as http,
        http.stream("GET", f"http://127.0.0.1:{service.port}/v1/watch?since=0") as answer,
    ):
        await service.store.put("other", "late", 1)
        await service.store.put("team", "late", 1)
        async for line in answer.aiter_lines():
            if line.startswith("data:") and "key" in (change := json.loads(line[5:])):
                told.append((change["namespace"], change["key"]))
                if change["key"] == "late":
                    break
    assert told == [("team", "k"), ("team/notes", "k"), ("team", "late")]


async def test_an_import_that_may_write_nothing_is_refused_before_its_body(service):
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = (
        f"POST /v1/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {READER}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
    writer.close()


async def test_an_import_stops_at_the_first_entry_that_the_token_may_not_write(service):
    exported = await export(service, READER)
    refused = await service.call("POST", "/v1/import", exported, token=READER)
    assert (refused.status, "imported" in refused.json) == (403, False)
    partly = await service.call("POST", "/v1/import", exported, token=TEAM)
    assert (partly.status, partly.json["imported"]["created"], partly.json["imported"]["updated"]) == (403, 0, 0)
    own = await export(service, TEAM)
    assert (await service.call("POST", "/v1/import", own, token=TEAM)).status == 200


GRPC_CASES = [
    ("Get", pb.GetRequest(namespace="team/notes", key="k"), "OK", "OK", "OK"),
    ("Get", pb.GetRequest(namespace="other", key="none"), "NOT_FOUND", "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ("GetMany", pb.GetManyRequest(identities=[pb.Identity(namespace=n, key="k") for n in ("team", "other")]),
     "OK", "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ("Put", pb.PutRequest(namespace="team", key="g", value=b"1"), "PERMISSION_DENIED", "OK", "PERMISSION_DENIED"),
    ("Put", pb.PutRequest(namespace="other", key="g", value=b"1"), *["PERMISSION_DENIED"] * 3),
    ("Delete", pb.DeleteRequest(namespace="other", key="k"), *["PERMISSION_DENIED"] * 3),
    ("DeleteRange", pb.DeleteRangeRequest(namespace="other", prefix=""), *["PERMISSION_DENIED"] * 3),
    ("List", pb.ListRequest(namespace="other"), "OK", "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ("Search", pb.SearchRequest(namespace="other"), "OK", "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ("Stats", pb.StatsRequest(), "OK", "PERMISSION_DENIED", "PERMISSION_DENIED"),
    ("Batch", pb.BatchRequest(independent=True, operations=[
        pb.BatchRequest.Operation(put=pb.PutRequest(namespace=n, key="g", value=b"1")) for n in ("team", "other")]),
     *["PERMISSION_DENIED"] * 3),
]  # fmt: skip


@contextlib.asynccontextmanager
async def grpc_stubs(service):
    """A stub for READER, TEAM and TEAM_READER each, to a server on the service's store."""
    metrics, settings = ServiceMetrics(), ServiceSettings(grpc_port=0)
    server = GrpcServer(
        service.store, tokens=Tokens(service.tokens), metrics=metrics, settings=settings,
        quotas=Quotas(settings),
    )  # fmt: skip
    async with server.running(), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield MemoryStub(channel)


def metadata(token):
    return (("authorization", f"Bearer {token}"),)


async def test_grpc_answers_by_the_token_s_rights(service):
    async with grpc_stubs(service) as memory:
        for name, request, *expected in GRPC_CASES:
            for token, status in zip((READER, TEAM, TEAM_READER), expected, strict=True):
                try:
                    await getattr(memory, name)(request, metadata=metadata(token))
                    code = grpc.StatusCode.OK
                except grpc.aio.AioRpcError as error:
                    code = error.code()
                assert code.name == status, (name, token)
        found = await memory.Search(pb.SearchRequest(tags=["x"]), metadata=metadata(TEAM_READER))
        assert {hit.entry.namespace for hit in found.hits} == {"team", "team/notes"}
        names = await memory.Namespaces(pb.NamespacesRequest(), metadata=metadata(TEAM_READER))
        assert [each.namespace for each in names.namespaces] == ["team", "team/notes"]
        watch = memory.Watch(pb.WatchRequest(since=0), metadata=metadata(TEAM_READER))
        told = [await watch.read() for _ in range(3)]
        assert [each.change.namespace for each in told[1:]] == ["team", "team/notes"]
        with pytest.raises(grpc.aio.AioRpcError, match="may not"):
            await memory.Watch(pb.WatchRequest(namespace="other"), metadata=metadata(TEAM_READER)).read()
    assert [entry.key for entry in (await service.store.list("other")).entries] == ["k"]


@contextlib.asynccontextmanager
async def mcp_client(service, token, era="legacy"):
    async with (
        httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http,
        Client(streamable_http_client(f"http://127.0.0.1:{service.port}/mcp", http_client=http), mode=era) as client,
    ):
        yield client


MCP_CASES = [
    ("memory_retrieve", {"namespace": "team/notes", "key": "k"}, True, True, True),
    ("memory_retrieve", {"namespace": "other", "key": "k"}, True, False, False),
    ("memory_list", {"namespace": "other"}, True, False, False),
    ("memory_search", {"namespace": "other"}, True, False, False),
    ("memory_store", {"namespace": "team", "key": "m", "value": 1}, False, True, False),
    ("memory_store", {"namespace": "other", "key": "m", "value": 1}, False, False, False),
    ("memory_delete", {"namespace": "other", "key": "k"}, False, False, False),
    ("memory_stats", {}, True, False, False),
    ("memory_compress", {}, False, False, False),
    ("task_create", {"description": "d"}, False, False, False),
]


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_mcp_answers_by_the_token_s_rights(service, era):
    for index, token in enumerate((READER, TEAM, TEAM_READER)):
        async with mcp_client(service, token, era) as client:
            for name, arguments, *expected in MCP_CASES:
                answer = await client.call_tool(name, arguments)
                assert answer.is_error is not expected[index], (name, arguments, token, answer)
                if answer.is_error:
                    assert json.loads(answer.content[0].text)["error"]["code"] == "forbidden"
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert ("memory_store" in tools) is (token == TEAM)
            assert {"memory_retrieve", "memory_search"} <= tools
    async with mcp_client(service, TEAM_READER, era) as client:
        found = json.loads((await client.call_tool("memory_search", {"tags": ["x"]})).content[0].text)
        assert {each["namespace"] for each in found["entries"]} == {"team", "team/notes"}
        assert found["searched"]["within"] == ["team"]
        names = [resource.name for resource in (await client.list_resources()).resources]
        assert names == ["namespaces", "team", "team/notes"]
        await client.read_resource("memory://team/k")
        with pytest.raises(MCPError, match="may not"):
            await client.read_resource("memory://other/k")
        with pytest.raises(MCPError, match="may not"):
            await client.read_resource("memory://other")
    assert [entry.key for entry in (await service.store.list("other")).entries] == ["k"]


@pytest.mark.filterwarnings("ignore:resources/:mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_subscription_is_for_what_the_token_may_read(service):
    async with mcp_client(service, TEAM_READER) as client:
        await client.subscribe_resource("memory://team%2Fnotes/k")
        for uri in ("memory://other", "memory://other/k", "memory://namespaces"):
            with pytest.raises(MCPError, match="may not"):
                await client.subscribe_resource(uri)


async def test_a_session_belongs_to_the_token_that_opened_it(service):
    begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}  # fmt: skip
    both = "application/json, text/event-stream"
    async with httpx2.AsyncClient(
        verify=False, base_url=f"http://127.0.0.1:{service.port}", headers={"Accept": both}, timeout=60
    ) as http:
        opened = await http.post("/mcp", json=begin, headers={"Authorization": f"Bearer {TEAM}"})
        assert opened.status_code == 200
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
        ask = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        other = await http.post("/mcp", json=ask, headers={"Authorization": f"Bearer {TEAM_READER}", **session})
        assert other.status_code == 404
        own = await http.post("/mcp", json=ask, headers={"Authorization": f"Bearer {TEAM}", **session})
        assert own.status_code == 200


async def test_only_an_admin_s_import_names_another_author(service):
    lines = [
        b'{"namespace":"team","key":"k1","value":1,"updatedBy":"boss"}',
        b'{"namespace":"team","key":"k2","value":1}',
    ]
    found = []
    for token in (TEAM, ADMIN_TOKEN):
        assert (await service.call("POST", "/v1/import", b"\n".join(lines), token=token)).status == 200
        entries = await service.store.get_many([("team", "k1"), ("team", "k2")])
        found.append([entry.updated_by for entry in entries])
        await service.store.delete_range("team", prefix="k")
    assert found == [["team", "team"], ["boss", "admin"]]
    answer = await service.call("PUT", "/v1/entries/team/k", {"value": 1, "updated_by": "boss"}, token=ADMIN_TOKEN)
    assert answer.status == 400


async def test_who_writes_a_record_is_the_token_whatever_the_record_says(service):
    written = await service.call("PUT", "/v1/agents/ada", {"type": "coder", "updatedBy": "queen"})
    assert written.json["updatedBy"] == "client"
    again = await service.call("PUT", "/v1/agents/ada", written.json, token=ADMIN_TOKEN)
    assert (again.json["updatedBy"], again.json["type"]) == ("admin", "coder")
    (listed,) = (await service.call("GET", "/v1/agents")).json["agents"]
    assert listed["updatedBy"] == "admin"
    entry = await service.store.get("swarm:agents", "agent:ada")
    assert "updatedBy" not in entry.value
    assert entry.updated_by == "admin"


async def test_a_right_that_is_taken_away_is_gone_without_a_restart(service, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0.0)
    less = {"tokens": [{**FURTHER["tokens"][1], "access": "read"}]}
    (service.tokens / "tokens.json").write_text(json.dumps(less))
    assert (await service.call("PUT", "/v1/entries/team/k", {"value": 1}, token=TEAM)).status == 403
    assert (await service.call("GET", "/v1/entries/team/k", token=TEAM)).status == 200
    assert (await service.call("GET", "/v1/entries/team/k", token=READER)).status == 401
    (service.tokens / "tokens.json").unlink()
    assert (await service.call("GET", "/v1/entries/team/k", token=TEAM)).status == 401


def keep_only(service, *names):
    """Leave these of the further tokens, as they were."""
    kept = [each for each in FURTHER["tokens"] if each["name"] in names]
    (service.tokens / "tokens.json").write_text(json.dumps({"tokens": kept}))


async def test_an_open_watch_tells_nothing_once_its_token_is_taken_away(service, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0.0)
    headers = {"Authorization": f"Bearer {TEAM_READER}"}
    async with (
        httpx2.AsyncClient(verify=False, timeout=60) as http,
        grpc_stubs(service) as memory,
        http.stream("GET", f"http://127.0.0.1:{service.port}/v1/watch", headers=headers) as answer,
        mcp_client(service, TEAM_READER, "2026-07-28") as client,
        client.listen(resource_subscriptions=["memory://team"]) as events,
    ):
        lines = answer.aiter_lines()
        watch = memory.Watch(pb.WatchRequest(), metadata=metadata(TEAM_READER))
        assert (await watch.read()).HasField("ready")
        await service.store.put("team", "before", 1)
        async with asyncio.timeout(60):
            assert (await watch.read()).change.key == "before"
            while '"before"' not in await anext(lines):
                pass
            await anext(events)
            keep_only(service, "team")
            await service.store.put("team", "after", 1)
            assert not [line async for line in lines if "after" in line]
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await watch.read()
            assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(StopAsyncIteration):
                await anext(events)
        assert (await http.get(f"http://127.0.0.1:{service.port}/v1/watch", headers=headers)).status_code == 401


async def test_an_open_watch_goes_on_when_other_tokens_change(service, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0.0)
    async with grpc_stubs(service) as memory:
        watch = memory.Watch(pb.WatchRequest(), metadata=metadata(TEAM_READER))
        assert (await watch.read()).HasField("ready")
        keep_only(service, "team-reader")
        await service.store.put("team", "after", 1)
        assert (await watch.read()).change.key == "after"
        watch.cancel()


NOBODY = Credential(Principal("nobody", writes=False, namespaces=()), lambda: True)


def operations():
    free = {"origin", "swarm_id", "max_value_bytes", "alive", "fault", "now", "confirm_upgrade"}
    members = {name for kind in (EntryReads, EntryWrites, Store) for name in vars(kind) if not name.startswith("_")}
    return sorted(members - free)


@pytest.mark.parametrize("name", operations())
async def test_no_operation_of_the_store_is_left_unguarded(service, name):
    """A new one fails here until it is held to rights, too."""
    guarded = AuthorizedStore(service.store, NOBODY)
    await service.store.put("n", "k", 1, tags=["t"])
    entry = await service.store.get("n", "k")
    arguments = {
        "write": [Draft.create("n", "k", 1)],
        "write_checked": [Draft.create("n", "k", 1), DuplicateRule.create("link")],
        "get": ["n", "k"], "delete": ["n", "k"], "get_many": [[("n", "k")]],
        "vectors": [[entry]], "get_each": [[("n", "k")]],
        "batch": [[Delete(("n", "k"))]], "transact": [[("n", "k")], lambda _, __: []],
        "delete_range": ["n"], "list": ["n"], "search": [Query.create(namespace="n")], "counts": [["n"]],
        "tag_counts": ["n", ["t"]], "backup": ["/nowhere"], "replace": ["/nowhere"], "watch": ["n"],
        "stop_writes": ["b"], "resume_writes": ["b"],
    }.get(name, [])  # fmt: skip
    named = {"former": "/nowhere", "before": None} if name == "replace" else {}
    if name == "namespaces":
        assert (await guarded.namespaces()).namespaces == []
        return

    async def carry_out():
        made = getattr(guarded, name)(*arguments, **named)
        await (made if inspect.isawaitable(made) else made.__aenter__())

    with pytest.raises(ForbiddenError):
        await carry_out()


def test_what_the_contract_does_not_name_is_not_there():
    assert not {name for name in vars(SqliteStore) if hasattr(AuthorizedStore, name) and not name.startswith("_")} - {
        name for kind in (EntryReads, EntryWrites, Store) for name in vars(kind)
    }


async def test_a_search_and_a_watch_of_everything_show_what_may_be_read(service):
    guarded = AuthorizedStore(service.store, NOBODY)
    await service.store.put("n", "k", 1)
    assert (await guarded.search(Query.create())).hits == []
    async with guarded.watch(since=0) as watch:
        assert await watch.next(0.0) == []


async def test_messages_of_several_requests_keep_their_order(service):
    """Each request has a view of its own; the keys of messages come from what the views share."""
    admin = Credential(Principal("admin", admin=True), lambda: True)
    views = [Swarm(AuthorizedStore(service.store, admin)) for _ in range(20)]
    sent = await asyncio.gather(*(view.communications.send("a", "b", {"n": n}) for n, view in enumerate(views)))
    read = (await views[0].communications.read(agent="b", limit=100)).messages
    assert [message.id for message in read] == sorted(message.id for message in sent)
    assert [message.document["message"]["n"] for message in read] == list(range(20))


async def test_a_reader_is_refused_before_the_body_is_looked_at(service):
    answer = await service.call("PUT", "/v1/entries/n/k", b"no json", token=READER)
    assert answer.status == 403
    answer = await service.call("PUT", "/v1/entries/n/k", b"no json", token=TEAM)
    assert answer.status == 400


def test_operations_for_admins_are_those_below_admin():
    for operation in OPERATIONS:
        assert operation.admin == operation.path.startswith("/admin/"), operation.name
