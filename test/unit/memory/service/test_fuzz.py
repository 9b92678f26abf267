"""Whatever is sent as a namespace, a key or a value is answered, over each protocol, and never by a failure of ours.

Here what was stored is read again; fuzz/ sends more, to a process, and looks at how it fares.
"""

import asyncio
import contextlib
import json

import grpc
import httpx2
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support.budget import budget
from unit.memory.fuzz.inputs import NAMES, TEXTS, names

from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.service.grpc.server import GrpcServer
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

MIB = 1024 * 1024
values = st.sampled_from(TEXTS) | st.binary(max_size=20) | st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6,
).map(lambda value: json.dumps(value).encode())  # fmt: skip
QUICK = settings(max_examples=budget(50, long=150), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def after_the_known(test, **arguments):
    """Have a test begin with each known name and text; Hypothesis draws most of them, but not all."""
    for number, name in enumerate(NAMES):
        other, text = NAMES[(number * 7 + 3) % len(NAMES)], TEXTS[number % len(TEXTS)]
        test = example(namespace=name, key=other, text=text, **arguments)(test)
    return test


@pytest.fixture
def runner():
    with asyncio.Runner() as running:
        yield running


@contextlib.contextmanager
def entered(runner, *managers):
    """What asynchronous context managers give, in a loop that stands still between calls."""
    stack = contextlib.AsyncExitStack()

    async def enter():
        return [await stack.enter_async_context(manager()) for manager in managers]

    try:
        yield runner.run(enter())
    finally:
        runner.run(stack.aclose())


def fine(service, runner):
    """It is ready still, and nothing was a defect."""
    assert runner.run(service.call("GET", "/readyz", token=None)).status == 200
    metrics = runner.run(service.metrics())
    assert 'swarm_memory_errors_total{code="internal"} 0.0' in metrics


def escape(name):
    """Some of it percent-encoded, some as it is, as far as a request line takes it."""
    return "".join(
        each if (each.isalnum() and each.isascii()) or each in "%'*.:;[]{}<>$!-_\\/" else
        "".join(f"%{byte:02X}" for byte in each.encode("utf-8", "surrogatepass"))
        for each in name
    )  # fmt: skip


def test_http_never_fails(start_service, runner):
    with entered(runner, start_service) as (service,):

        @QUICK
        @given(namespace=names, key=names, text=values, wrapped=st.booleans())
        def send(namespace, key, text, wrapped):
            path = f"/v1/entries/{escape(namespace)}/{escape(key)}"
            body = b'{"value":' + text + b"}" if wrapped else text
            written = runner.run(service.call("PUT", path, body))
            assert written.status in {200, 201, 400, 404}, (path, body[:100], written)
            read = runner.run(service.call("GET", path))
            if written.status < 300:
                assert read.status == 200
                assert read.json["version"] == written.json["version"]
                # What Python understands of what was sent, but for the last bits of long numbers.
                assert read.json["value"] == orjson.loads(body)["value"]
            for method, query in (
                ("GET", f"/v1/entries?namespace={escape(namespace)}&prefix={escape(key)}"),
                ("GET", f"/v1/search?namespace={escape(namespace)}&text={escape(key)}"),
                ("GET", f"/v1/search?glob={escape(key)}&tag={escape(namespace)}"),
                ("GET", f"/v1/search?match={escape(key)}&cursor={escape(namespace)}"),
                ("DELETE", path),
            ):
                answer = runner.run(service.call(method, query))
                assert answer.status < 500, (method, query, answer)
            operation = {"op": "put", "namespace": namespace, "key": key, "value": key}
            with contextlib.suppress(TypeError):  # no JSON: a lone surrogate
                answer = runner.run(service.call("POST", "/v1/batch", {"operations": [operation]}))
                assert answer.status in {200, 400}
            imported = runner.run(service.call("POST", "/v1/import", text + b"\n"))
            assert imported.status in {200, 400}, imported

        after_the_known(send, wrapped=True)()
        for size, status in ((16 * MIB - 100, 201), (16 * MIB, 413)):
            big = b'{"value":"' + b"x" * size + b'"}'
            assert runner.run(service.call("PUT", "/v1/entries/big/k", big)).status == status
        fine(service, runner)


def test_grpc_never_fails(start_service, runner):
    allowed = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}

    @contextlib.asynccontextmanager
    async def serving():
        metrics = ServiceMetrics()
        server = GrpcServer(
            service.store, tokens=Tokens(service.tokens), metrics=metrics,
            settings=ServiceSettings(grpc_port=0), quotas=Quotas(ServiceSettings()),
        )  # fmt: skip
        options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        async with server.running(), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
            yield MemoryStub(channel)

    with entered(runner, start_service) as (service,), entered(runner, serving) as (memory,):
        token = (service.tokens / "client-token").read_text().strip()

        async def call(name, request):
            try:
                return grpc.StatusCode.OK, await getattr(memory, name)(
                    request, metadata=(("authorization", f"Bearer {token}"),)
                )
            except grpc.aio.AioRpcError as error:
                return error.code(), None

        @QUICK
        @given(namespace=names, key=names, text=values)
        def send(namespace, key, text):
            try:
                put = pb.PutRequest(namespace=namespace, key=key, value=text, tags=[key], metadata=text)
            except (UnicodeEncodeError, ValueError):  # a lone surrogate is no text of a message
                return
            code, _ = runner.run(call("Put", put))
            assert code in allowed, (code, put)
            put.ClearField("metadata")
            put.ClearField("tags")
            code, written = runner.run(call("Put", put))
            assert code in allowed, (code, put)
            read_code, read = runner.run(call("Get", pb.GetRequest(namespace=namespace, key=key)))
            assert read_code in allowed
            if code is grpc.StatusCode.OK:
                assert read.version == written.entry.version
                assert orjson.loads(read.value) == orjson.loads(text)
            for name, request in (
                ("List", pb.ListRequest(namespace=namespace, prefix=key, page_token=key)),
                ("Search", pb.SearchRequest(namespace=namespace, text=key, metadata=text)),
                ("Search", pb.SearchRequest(glob=key, tags=[namespace], page_token=key)),
                ("Search", pb.SearchRequest(match=key, order=namespace)),
                ("GetMany", pb.GetManyRequest(identities=[pb.Identity(namespace=namespace, key=key)])),
                ("Batch", pb.BatchRequest(operations=[pb.BatchRequest.Operation(put=put)])),
                ("Delete", pb.DeleteRequest(namespace=namespace, key=key)),
            ):
                code, _ = runner.run(call(name, request))
                assert code in allowed, (name, code, request)

        after_the_known(send)()
        big = pb.PutRequest(namespace="big", key="k", value=b'"' + b"x" * (4 * MIB - 100) + b'"')
        assert runner.run(call("Put", big))[0] is grpc.StatusCode.OK
        big.value += b" " * 200
        assert runner.run(call("Put", big))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        fine(service, runner)


async def test_mcp_never_fails(start_service):
    """Tools are called by one session, which must outlive them all."""
    refusals = {"invalid-input", "not-found"}
    async with start_service(mcp=True) as service:
        token = (service.tokens / "client-token").read_text().strip()
        async with (
            httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http,
            Client(streamable_http_client(f"http://127.0.0.1:{service.port}/mcp", http_client=http)) as client,
        ):
            for number, name in enumerate(NAMES):
                other = NAMES[(number * 7 + 3) % len(NAMES)]
                text = TEXTS[number % len(TEXTS)]
                value = text.decode(errors="replace")[:2000]
                for tool, arguments in (
                    ("memory_store", {"namespace": other, "key": name, "value": value, "tags": [name]}),
                    (
                        "memory_store",
                        {"namespace": name, "key": other, "value": {name: [value]}, "metadata": {name: 1}},
                    ),
                    ("memory_retrieve", {"namespace": other, "key": name}),
                    ("memory_list", {"namespace": name, "prefix": other, "cursor": name}),
                    ("memory_search", {"pattern": name, "text": other, "tags": [name]}),
                    ("memory_search", {"namespace": name, "cursor": other}),
                    ("memory_delete", {"namespace": other, "key": name}),
                    ("memory_store", {name: value}),
                    ("memory_store", {"key": value, "value": None, "ttl": value}),
                ):
                    answer = await client.call_tool(tool, arguments)
                    if answer.is_error:
                        error = json.loads(answer.content[0].text)["error"]
                        assert error["code"] in refusals, (tool, arguments, error)
                    elif tool == "memory_store":
                        entry = await service.store.get(arguments.get("namespace", "default"), arguments["key"])
                        assert entry.value == arguments["value"]
            stats = await client.call_tool("memory_stats", {})
            assert json.loads(stats.content[0].text)["entries"] > 0
        metrics = await service.metrics()
        assert 'swarm_memory_errors_total{code="internal"} 0.0' in metrics
