"""Ids of requests: taken from those who trace, made for those who are refused, in answers and in the log."""

import re

import grpc
import pytest
from structlog.contextvars import get_contextvars
from unit.memory.service.grpc.conftest import running as running_grpc

from swarm_operator.memory.service.grpc.memory_pb2 import GetRequest, PutRequest

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


async def test_the_answer_to_a_traced_request_has_the_trace_s_id(service):
    await service.put("n/k", 1)
    for path in ("/v1/entries/n/k", "/v1/stats", "/healthz", "/v1/export?all=true"):
        answer = await service.call("GET", path, traceparent=PARENT)
        assert (answer.status, answer.headers["x-request-id"]) == (200, TRACE)


async def test_an_id_that_is_given_goes_before_the_trace_s(service):
    answer = await service.call("PUT", "/v1/entries/n/k", {"value": 1}, traceparent=PARENT, X_Request_Id="order-7/a")
    assert (answer.status, answer.headers["x-request-id"]) == (201, "order-7/a")


@pytest.mark.parametrize("given", [
    {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
    {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
    {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
    {"traceparent": f"00-{TRACE}-{SPAN}-01-more"},
    {"traceparent": PARENT.upper()},
    {"traceparent": ""},
    {"X_Request_Id": "x" * 129},
    {"X_Request_Id": 'a"b'},
    {"X_Request_Id": "\u00e9"},
    {},
])  # fmt: skip
async def test_what_is_no_id_is_left_alone_and_a_refusal_has_one_of_its_own(service, given):
    await service.put("n/k", 1)
    assert "x-request-id" not in (await service.call("GET", "/v1/entries/n/k", **given)).headers
    refused = [await service.call("GET", "/v1/entries/n/missing", **given) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in refused}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)


async def test_a_later_version_of_the_header_may_say_more(service):
    answer = await service.call("GET", "/v1/stats", traceparent=f"01-{TRACE}-{SPAN}-01-more")
    assert answer.headers["x-request-id"] == TRACE


async def test_a_refusal_has_the_id_that_was_given_once(service):
    raw = await service.call("GET", "/v1/entries/n/missing", traceparent=PARENT)
    assert (raw.status, raw.headers["x-request-id"]) == (404, TRACE)
    batch = {"operations": [{"op": "get", "namespace": "n", "key": "k"}, {"op": "put", "namespace": "n", "key": ""}]}
    assert (await service.call("POST", "/v1/batch", batch, traceparent=PARENT)).headers["x-request-id"] == TRACE


async def test_what_is_logged_for_a_request_names_its_trace(service, monkeypatch):
    seen = []

    async def broken(*_):
        seen.append(get_contextvars())
        raise RuntimeError("a defect")

    monkeypatch.setattr("swarm_operator.memory.sqlite.read.entries.EntryReader.get", broken)
    await service.call("GET", "/v1/entries/n/k", traceparent=PARENT, X_Request_Id="r1")
    answer = await service.call("GET", "/v1/entries/n/k", If_None_Match='"1"')
    assert answer.status == 500
    # Of one request nothing is left for the next.
    assert seen == [{"trace_id": TRACE, "span_id": SPAN, "request_id": "r1"}, {}]


async def test_grpc_takes_the_same_and_answers_it_in_the_trailers(tmp_path, clock):
    async with running_grpc(tmp_path, clock) as served:
        await served.memory.Put(PutRequest(namespace="n", key="k", value=b"1"))
        metadata = (("authorization", "Bearer client-0123456789abcdef"), ("traceparent", PARENT))
        plain = grpc.aio.insecure_channel(f"127.0.0.1:{served.server.port}")
        async with plain:
            call = plain.unary_unary("/swarm.memory.v1.Memory/Get", request_serializer=GetRequest.SerializeToString)
            with pytest.raises(grpc.aio.AioRpcError) as missing:
                await call(GetRequest(namespace="n", key="missing"), metadata=metadata)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(GetRequest(namespace="n", key="k"))
        assert dict(missing.value.trailing_metadata())["x-request-id"] == TRACE
        assert re.fullmatch("[0-9a-f]{32}", dict(refused.value.trailing_metadata())["x-request-id"])
