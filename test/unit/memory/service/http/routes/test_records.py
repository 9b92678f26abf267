"""Records over HTTP: paths, methods, bodies, errors. What the operations do is in the contract."""

import asyncio
import threading

import pytest

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.threads import LARGE_BYTES
from swarm_operator.memory.service.http.routes.records import ENDPOINTS


async def register(service, agent_id="a1", **members):
    return await service.call("PUT", f"/v1/agents/{agent_id}", members)


async def create(service, task_id="t1", **members):
    return await service.call("POST", "/v1/tasks", {"id": task_id, **members})


async def test_a_record_is_answered_with_its_members_and_its_version(service):
    answer = await register(service, type="coder")
    assert (answer.status, answer.headers["etag"], answer.json["type"]) == (201, '"1"', "coder")
    answer = await register(service)
    assert (answer.status, answer.headers["etag"]) == (200, '"2"')
    answer = await service.call("GET", "/v1/agents/a1")
    assert (answer.status, answer.headers["etag"], answer.json["type"]) == (200, '"2"', "coder")
    answer = await service.call("GET", "/v1/agents/a1", If_None_Match='"2"')
    assert (answer.status, answer.body) == (304, b"")
    # A write is done and answered whatever the caller has.
    answer = await service.call("POST", "/v1/agents/a1/heartbeat", {}, If_None_Match='"3"')
    assert (answer.status, answer.json["id"]) == (200, "a1")
    entry = (await service.call("GET", "/v1/entries/swarm:agents/agent:a1")).json
    assert entry["version"] == 3


async def test_lists_have_cursors_of_their_own(service):
    for number in range(5):
        await register(service, f"a{number}")
        await create(service, f"t{number}")
    first = (await service.call("GET", "/v1/agents?limit=3")).json
    assert [agent["id"] for agent in first["agents"]] == ["a0", "a1", "a2"]
    rest = (await service.call("GET", f"/v1/agents?cursor={first['next_cursor']}")).json
    assert [agent["id"] for agent in rest["agents"]] == ["a3", "a4"]
    assert rest["next_cursor"] is None
    answer = await service.call("GET", f"/v1/tasks?cursor={first['next_cursor']}")
    assert (answer.status, answer.json["field"]) == (400, "cursor")


async def test_what_the_state_forbids_is_a_409_with_its_reason(service):
    await create(service)
    await service.call("POST", "/v1/tasks/t1/claim", {"agent": "a1"})
    answer = await service.call("POST", "/v1/tasks/t1/claim", {"agent": "a2"})
    assert answer.status == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json == {
        "type": "urn:swarm-memory:problem:state-conflict", "title": "Conflict", "status": 409,
        "detail": "the task is claimed by 'a1'", "reason": "claimed",
    }  # fmt: skip


async def test_what_is_not_there_is_a_404(service):
    for method, path, body in (
        ("GET", "/v1/agents/x", None), ("DELETE", "/v1/agents/x", None), ("POST", "/v1/agents/x/heartbeat", None),
        ("GET", "/v1/tasks/x", None), ("POST", "/v1/tasks/x/claim", {"agent": "a"}), ("PATCH", "/v1/tasks/x", {}),
        ("DELETE", "/v1/tasks/x", None), ("GET", "/v1/agents/a/b", None), ("GET", "/v1/agents/a/b/c/d", None),
        ("POST", "/v1/tasks/x/explode", {}),
    ):  # fmt: skip
        answer = await service.call(method, path, body)
        assert (answer.status, answer.json["type"]) == (404, "urn:swarm-memory:problem:not-found"), (method, path)


async def test_a_method_that_a_path_does_not_have_is_a_405_that_names_those_it_has(service):
    for method, path, allow in (
        ("POST", "/v1/agents", "GET, HEAD"), ("PATCH", "/v1/agents/a", "PUT, GET, DELETE, HEAD"),
        ("GET", "/v1/tasks/x/claim", "POST"), ("DELETE", "/v1/tasks", "GET, POST, HEAD"),
    ):  # fmt: skip
        answer = await service.call(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allow)


async def test_a_task_may_be_called_claim(service):
    await create(service, "claim")
    assert (await service.call("GET", "/v1/tasks/claim")).json["id"] == "claim"
    assert (await service.call("POST", "/v1/tasks/claim", {"agent": "a"})).json["id"] == "claim"
    assert (await service.call("DELETE", "/v1/tasks/claim")).status == 204


async def test_nothing_to_claim_is_a_204(service):
    answer = await service.call("POST", "/v1/tasks/claim", {"agent": "a"})
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "/v1/agents/a", b"", "body"),
        ("PUT", "/v1/agents/a", b"[]", "body"),
        ("PUT", "/v1/agents/a", b"{", "body"),
        ("PUT", "/v1/agents/a", b'{"a":1,"a":2}', "body"),
        ("PUT", "/v1/agents/a", b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", "body"),
        ("PUT", "/v1/agents/a", b'{"a":123456789012345678901234567890}', "body"),
        ("PUT", "/v1/agents/a", b'{"a":NaN}', "body"),
        ("PUT", "/v1/agents/a?x=1", b"{}", "query parameter 'x'"),
        ("PUT", "/v1/agents/", b"{}", "id"),
        ("PUT", "/v1/agents/%00", b"{}", "id"),
        ("PUT", "/v1/agents/%FF", b"{}", "id"),
        ("PUT", "/v1/agents/%", b"{}", "id"),
        ("PUT", "/v1/agents/" + "x" * 513, b"{}", "id"),
        ("GET", "/v1/agents/" + "x" * 513, None, "id"),
        ("POST", "/v1/agents/a/heartbeat", b'{"state":"x"}', "body: unknown member 'state'"),
        ("GET", "/v1/agents?stale=yes", None, "stale"),
        ("GET", "/v1/agents?stale=true&stale_after=inf", None, "stale_after"),
        ("GET", "/v1/agents?stale_after=1e400", None, "stale_after"),
        ("GET", "/v1/agents?stale_after=1_0", None, "stale_after"),
        ("GET", "/v1/agents?stale_after=-1", None, "stale_after"),
        ("GET", "/v1/agents?limit=x", None, "limit"),
        ("GET", "/v1/agents?cursor=!", None, "cursor"),
        ("GET", "/v1/agents?status=", None, "status"),
        ("GET", "/v1/agents?colour=red", None, "query parameter 'colour'"),
        ("POST", "/v1/tasks", b'{"id":null,"priority":{}}', "priority"),
        ("POST", "/v1/tasks", b'{"id":{}}', "id"),
        ("PUT", "/v1/agents/a", b'{"id":[]}', "id"),
        ("POST", "/v1/tasks", b'"x"', "body"),
        ("POST", "/v1/tasks/claim", b"{}", "agent"),
        ("POST", "/v1/tasks/claim", b"", "agent"),
        ("POST", "/v1/tasks/claim", b'{"agent":["a"]}', "agent"),
        ("POST", "/v1/tasks/claim", b'{"agent":"a","lease":1e999}', "body"),
        ("POST", "/v1/tasks/claim", b'{"agent":"a","types":{"a":1}}', "types"),
        ("POST", "/v1/tasks/t/claim", b'{"agent":"a","lease":"5m"}', "lease"),
        ("POST", "/v1/tasks/t/status", b'{"agent":"a"}', "status"),
        ("POST", "/v1/tasks/t/status", b'{"status":["completed"]}', "status"),
        ("POST", "/v1/tasks/t/assign", b'{"agents":null}', "agents"),
        ("GET", "/v1/tasks?agent=a&agent=b", None, "agent"),
    ],
)
async def test_bad_input_is_a_400_that_names_the_field(service, method, path, body, field):
    answer = await service.call(method, path, body)
    assert (answer.status, answer.json.get("field")) == (400, field), answer.body
    assert (await service.store.stats()).entries == 0


async def test_every_endpoint_wants_a_token_and_survives_odd_bodies(service):
    for endpoint in ENDPOINTS:
        path = endpoint.operation.path.replace("{id}", "x")
        assert (await service.call(endpoint.operation.method, path, token=None)).status == 401
        for body in (b"null", b"1", b'""', b"[]", b"{}", b'{"id":{}}', b'{"agent":null,"status":null}', b"\xff\xfe"):
            answer = await service.call(endpoint.operation.method, path, body)
            assert answer.status < 500, (endpoint, body, answer)


async def test_the_metrics_count_by_the_endpoint_and_not_by_the_id(service):
    await register(service, "secret-name")
    await service.call("GET", "/v1/agents/another-name")
    metrics = await service.metrics()
    assert 'http_requests_total{code="201",method="PUT",route="/v1/agents/{id}"} 1.0' in metrics
    assert 'http_requests_total{code="404",method="GET",route="/v1/agents/{id}"} 1.0' in metrics
    assert 'operation_duration_seconds_count{operation="agent-register"} 1.0' in metrics
    assert "name" not in [line for line in metrics.splitlines() if "secret" in line]
    assert "secret-name" not in metrics


async def test_of_fifty_connections_that_claim_one_task_one_gets_it(service):
    await create(service)
    answers = await asyncio.gather(
        *(service.call("POST", "/v1/tasks/t1/claim", {"agent": f"a{number}"}) for number in range(50))
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 49


async def test_messages_are_read_with_a_cursor_that_is_never_lost(service):
    async def send(number, **members):
        body = {"fromAgent": "a", "message": number, **members}
        assert (await service.call("POST", "/v1/communications", body)).status == 201

    async def read(query):
        return (await service.call("GET", f"/v1/communications?{query}")).json

    assert await read("agent=b") == {"messages": [], "cursor": None, "more": False}
    for number in range(3):
        await send(number, toAgent="b")
    first = await read("agent=b&limit=2")
    assert ([message["message"] for message in first["messages"]], first["more"]) == ([0, 1], True)
    rest = await read(f"agent=b&since={first['cursor']}")
    assert ([message["message"] for message in rest["messages"]], rest["more"]) == ([2], False)
    assert await read(f"agent=b&since={rest['cursor']}") == {"messages": [], "cursor": rest["cursor"], "more": False}
    await send(3)
    assert [m["message"] for m in (await read(f"agent=b&since={rest['cursor']}"))["messages"]] == [3]
    answer = await service.call("GET", "/v1/communications?since=%21")
    assert (answer.status, answer.json["field"]) == (400, "since")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/communications", b'{"fromAgent":"a"}', "message"),
        ("POST", "/v1/communications", b'{"fromAgent":"a","message":1,"to":"b"}', "body: unknown member 'to'"),
        ("PUT", "/v1/patterns/p", b'{"type":[]}', "type"),
        ("POST", "/v1/patterns/p/uses", b'{"success":1}', "success"),
        ("GET", "/v1/best-patterns?limit=0", None, "limit"),
        ("GET", "/v1/best-patterns?limit=1.5", None, "limit"),
        ("GET", "/v1/best-patterns?" + "&".join(f"tag={n}" for n in range(17)), None, "tags"),
        ("POST", "/v1/consensus", b'{"options":{"a":1}}', "options"),
        ("POST", "/v1/consensus/c/votes", b'{"agent":"a"}', "choice"),
        ("POST", "/v1/consensus/c/close", b'{"now":true}', "body: unknown member 'now'"),
        ("PUT", "/v1/coordination/k", b"", "body"),
        ("PUT", "/v1/coordination/k", b"[1,]", "body"),
        ("PUT", "/v1/coordination/", b"1", "key"),
        ("PUT", "/v1/metrics/m", b"1", "body"),
        ("GET", "/v1/metrics?type=" + "x" * 200, None, "type"),
    ],
)
async def test_bad_input_of_the_other_kinds_is_named_too(service, method, path, body, field):
    await test_bad_input_is_a_400_that_names_the_field(service, method, path, body, field)


@pytest.mark.parametrize(
    ("method", "path", "frame"),
    [
        ("PUT", "/v1/coordination/k", b'"%b"'),
        ("PUT", "/v1/coordination/k", b"%bnull"),
        ("PUT", "/v1/metrics/m", b'{"type":"%b"}'),
        ("POST", "/v1/communications", b'{"fromAgent":"a","message":"%b"}'),
    ],
)
async def test_a_large_body_is_parsed_on_its_thread_alone(service, monkeypatch, method, path, frame):
    threads, real = [], strict_json.parse_document

    def parse_document(*arguments, **options):
        threads.append(threading.current_thread().name)
        return real(*arguments, **options)

    monkeypatch.setattr(strict_json, "parse_document", parse_document)
    await service.call(method, path, frame % (b" " * LARGE_BYTES))
    assert [name.startswith("memory-json") for name in threads] == [True]
