"""The contract of entries: over HTTP with the Python client, gRPC, and MCP with the official client."""

import contextlib
import json
from datetime import UTC, datetime

import grpc
import httpx2
import orjson
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support import entry_contract as contract
from support.store_drivers import EntryDriver, document, pages

from swarm_operator.memory.client import (
    MemoryClient,
    MemoryConflictError,
    MemoryGoneError,
    MemoryRequestError,
)
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.service.grpc.server import GrpcServer
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

FIELDS = {"tag": "tags", "any_tag": "any_tags", "page_size": "limit"}
"""How protocols call what the table calls otherwise."""


class Http:
    """Calls the service with the client."""

    def __init__(self, client, clock):
        self.client = client
        self.clock = clock

    async def __call__(self, operation, arguments):
        try:
            return await getattr(self, operation)(**arguments)
        except (MemoryConflictError, MemoryGoneError, MemoryRequestError) as error:
            refusal = self.refusal(error.problem)
            return contract.at(error.problem["index"], refusal) if "index" in error.problem else refusal

    @staticmethod
    def refusal(problem):
        if problem["status"] == 412:
            return contract.conflict(problem.get("current_version"))
        if problem["status"] == 410:
            return contract.Refusal("gone", problem["oldest"])
        return contract.invalid(FIELDS.get(problem["field"], problem["field"]))

    async def put(self, **arguments):
        return (await self.client.put(**arguments)).version

    async def get(self, namespace, key):
        entry = await self.client.get(namespace, key)
        return None if entry is None else document(entry)

    async def get_many(self, identities):
        return [None if entry is None else entry.value for entry in await self.client.get_many(identities)]

    async def delete(self, **arguments):
        return await self.client.delete(**arguments)

    async def delete_range(self, **arguments):
        return await self.client.delete_range(**arguments)

    async def list(self, **arguments):
        async def fetch(cursor):
            page = await self.client.list(**arguments, cursor=cursor)
            return [entry.key for entry in page.entries], page.next_cursor

        return await pages(fetch)

    async def search(self, **arguments):
        if "updated_since" in arguments:
            moment = datetime.fromtimestamp(self.clock() - arguments["updated_since"], UTC)
            arguments["updated_since"] = moment.isoformat()

        async def fetch(cursor):
            page = await self.client.search(**arguments, cursor=cursor)
            return [(hit.namespace, hit.key) for hit in page.hits], page.next_cursor

        return await pages(fetch)

    async def batch(self, operations, *, atomic=True):
        wanted = [{"op": step.operation, **step.arguments} for step in operations]
        results = await self.client.batch(wanted, atomic=atomic)
        return [self.result(*pair) for pair in zip(operations, results, strict=True)]

    def result(self, step, result):
        if result.status == 412:
            return self.refusal(result.problem)
        if step.operation == "delete":
            return result.ok
        if step.operation == "put":
            return result.entry.version
        return result.entry.value if result.ok else None

    async def watch(self, since, count, **where):
        told = []
        async with contextlib.aclosing(self.client.watch(since=since, **where)) as changes:
            async for each in changes:
                told.append((each.op, each.namespace, each.key, each.version))
                if len(told) == count:
                    return told
        raise AssertionError("the watch ended")


class Grpc:
    """Calls the service with the stubs that are made of its .proto."""

    def __init__(self, stub, metadata, clock):
        self.stub = stub
        self.metadata = metadata
        self.clock = clock

    async def __call__(self, operation, arguments):
        try:
            return await getattr(self, operation)(**arguments)
        except grpc.aio.AioRpcError as error:
            problem = pb.Problem.FromString(dict(error.trailing_metadata())["swarm-problem-bin"])
            refusal = self.refusal(problem)
            return contract.at(int(problem.details["index"]), refusal) if "index" in problem.details else refusal

    @staticmethod
    def refusal(problem):
        details = problem.details
        if problem.code == "version-conflict":
            return contract.conflict(int(details["current_version"]) if "current_version" in details else None)
        if problem.code == "gone":
            return contract.Refusal("gone", int(details["oldest"]))
        return contract.invalid(FIELDS.get(details["field"], details["field"]))

    async def call(self, name, request):
        return await getattr(self.stub, name)(request, metadata=self.metadata)

    @staticmethod
    def put_request(*, value, metadata=None, **arguments):
        packed = {} if metadata is None else {"metadata": orjson.dumps(metadata)}
        return pb.PutRequest(value=orjson.dumps(value), **packed, **arguments)

    async def put(self, **arguments):
        return (await self.call("Put", self.put_request(**arguments))).entry.version

    async def get(self, namespace, key):
        try:
            entry = await self.call("Get", pb.GetRequest(namespace=namespace, key=key))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return {
            "value": orjson.loads(entry.value), "version": entry.version, "tags": list(entry.tags),
            "metadata": orjson.loads(entry.metadata), "ttl": entry.ttl,
        }  # fmt: skip

    async def get_many(self, identities):
        asked = [pb.Identity(namespace=namespace, key=key) for namespace, key in identities]
        answer = await self.call("GetMany", pb.GetManyRequest(identities=asked))
        return [self.value(found) for found in answer.results]

    @staticmethod
    def value(found):
        return orjson.loads(found.entry.value) if found.HasField("entry") else None

    async def delete(self, **arguments):
        try:
            await self.call("Delete", pb.DeleteRequest(**arguments))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def delete_range(self, **arguments):
        return (await self.call("DeleteRange", pb.DeleteRangeRequest(**arguments))).deleted

    async def list(self, limit=0, **arguments):
        async def fetch(token):
            request = pb.ListRequest(page_size=limit, page_token=token or "", **arguments)
            answer = await self.call("List", request)
            return [entry.key for entry in answer.entries], answer.next_page_token or None

        return await pages(fetch)

    async def search(self, limit=0, metadata=None, updated_since=None, **arguments):
        request = pb.SearchRequest(page_size=limit, **arguments)
        if metadata is not None:
            request.metadata = orjson.dumps(metadata)
        if updated_since is not None:
            request.updated_since.FromMilliseconds(int((self.clock() - updated_since) * 1000))

        async def fetch(token):
            request.page_token = token or ""
            answer = await self.call("Search", request)
            return [(hit.entry.namespace, hit.entry.key) for hit in answer.hits], answer.next_page_token or None

        return await pages(fetch)

    async def namespaces(self, limit=0):
        async def fetch(token):
            answer = await self.call("Namespaces", pb.NamespacesRequest(page_size=limit, page_token=token or ""))
            return [(each.namespace, each.entries) for each in answer.namespaces], answer.next_page_token or None

        return await pages(fetch)

    async def batch(self, operations, *, atomic=True):
        makers = {
            "put": lambda one: pb.BatchRequest.Operation(put=self.put_request(**one)),
            "delete": lambda one: pb.BatchRequest.Operation(delete=pb.DeleteRequest(**one)),
            "get": lambda one: pb.BatchRequest.Operation(get=pb.GetRequest(**one)),
        }
        wanted = [makers[step.operation](step.arguments) for step in operations]
        answer = await self.call("Batch", pb.BatchRequest(operations=wanted, independent=not atomic))
        return [self.result(result) for result in answer.results]

    def result(self, result):
        kind = result.WhichOneof("result")
        if kind == "problem":
            return self.refusal(result.problem)
        if kind == "got":
            return self.value(result.got)
        return result.put.entry.version if kind == "put" else result.deleted

    async def watch(self, since, count, **where):
        call = self.stub.Watch(pb.WatchRequest(since=since, **where), metadata=self.metadata)
        told = []
        async for event in call:
            if event.WhichOneof("event") == "change":
                each = event.change
                op = pb.WatchResponse.Op.Name(each.op).lower()
                told.append((op, each.namespace, each.key, each.version))
            if len(told) == count:
                break
        call.cancel()
        return told


class Mcp:
    """Calls the service's MCP tools, which a model uses: values and pages are short there."""

    def __init__(self, client, clock):
        self.client = client
        self.clock = clock

    async def __call__(self, operation, arguments):
        return await getattr(self, operation)(**arguments)

    async def call(self, tool, arguments):
        """The answer, and the refusal."""
        result = await self.client.call_tool(tool, arguments)
        if not result.is_error:
            return json.loads(result.content[0].text), None
        error = json.loads(result.content[0].text)["error"]
        if error["code"] == "version-conflict":
            return None, contract.conflict(error.get("current_version"))
        return None, contract.invalid(error["field"])

    async def put(self, **arguments):
        answer, refusal = await self.call("memory_store", arguments)
        return refusal or answer["version"]

    async def get(self, namespace, key):
        offset, parts, answer = 0, [], None
        while offset is not None:
            answer, refusal = await self.call("memory_retrieve", {"namespace": namespace, "key": key, "offset": offset})
            if refusal:
                return refusal
            if not answer["found"]:
                return None
            parts.append(answer.get("part", ""))
            offset = answer.get("next_offset")
        value = answer["value"] if "value" in answer else json.loads("".join(parts))
        entry = {"value": value, "version": answer["version"], "tags": answer.get("tags", [])}
        expires = datetime.fromisoformat(answer["expires_at"]) if "expires_at" in answer else None
        updated = datetime.fromisoformat(answer["updated_at"])
        ttl = 0 if expires is None else round((expires - updated).total_seconds())
        return {**entry, "metadata": answer.get("metadata", {}), "ttl": ttl}

    async def delete(self, **arguments):
        answer, refusal = await self.call("memory_delete", arguments)
        return refusal or answer["deleted"]

    async def paged(self, tool, arguments, take):
        found, cursor = [], {}
        while True:
            answer, refusal = await self.call(tool, {**arguments, **cursor})
            if refusal:
                return refusal
            found += take(answer)
            if answer["next_cursor"] is None:
                return found
            cursor = {"cursor": answer["next_cursor"]}

    async def list(self, **arguments):
        return await self.paged("memory_list", arguments, lambda answer: [each["key"] for each in answer["entries"]])

    async def namespaces(self, **arguments):
        return await self.paged(
            "memory_list", arguments,
            lambda answer: [(each["namespace"], each["entries"]) for each in answer["namespaces"]],
        )  # fmt: skip

    async def search(self, glob=None, updated_since=None, **arguments):
        if glob is not None:
            arguments["pattern"] = glob
        if updated_since is not None:
            moment = datetime.fromtimestamp(self.clock() - updated_since, UTC)
            arguments["updated_since"] = moment.isoformat()
        return await self.paged(
            "memory_search", arguments, lambda answer: [(each["namespace"], each["key"]) for each in answer["entries"]]
        )


NOT_OFFERED = {
    "http": {"namespaces": "the client has no method for the list of namespaces"},
    "grpc": {},
    "mcp": {
        "get_many": "a model reads one value at a time",
        "batch": "a model writes one value at a time",
        "delete_range": "memory_namespace deletes a namespace; a prefix is not a model's to delete",
        "watch": "changes are told of by resources, see mcp/test_subscriptions",
    },
}
"""What a protocol leaves out, and why."""


@contextlib.asynccontextmanager
async def http(service, clock):
    token = (service.tokens / "client-token").read_text().strip()
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token=token, retries=0) as client:
        yield Http(client, clock)


@contextlib.asynccontextmanager
async def over_grpc(service, clock):
    metrics, token = ServiceMetrics(), (service.tokens / "client-token").read_text().strip()
    server = GrpcServer(
        service.store, tokens=Tokens(service.tokens), metrics=metrics, settings=ServiceSettings(grpc_port=0),
        quotas=Quotas(ServiceSettings()),
    )  # fmt: skip
    async with server.running(), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Grpc(MemoryStub(channel), (("authorization", f"Bearer {token}"),), clock)


@contextlib.asynccontextmanager
async def mcp(service, clock):
    token = (service.tokens / "client-token").read_text().strip()
    async with (
        httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client,
        Client(streamable_http_client(f"http://127.0.0.1:{service.port}/mcp", http_client=client)) as connected,
    ):
        yield Mcp(connected, clock)


PROTOCOLS = {"http": http, "grpc": over_grpc, "mcp": mcp}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scenario", contract.SCENARIOS, ids=lambda scenario: scenario.name)
async def test_every_protocol_keeps_the_contract(start_service, clock, scenario, protocol):
    left_out = NOT_OFFERED[protocol]
    async with start_service(clock=clock, mcp=True) as service, PROTOCOLS[protocol](service, clock) as adapter:
        for number, step in enumerate(scenario.steps):
            if isinstance(step, contract.Advance):
                clock.advance(step.seconds)
            elif step.operation in left_out:
                await EntryDriver(service.store, clock)(
                    step.operation, dict(step.arguments)
                )  # so that what follows holds
            else:
                outcome = await adapter(step.operation, dict(step.arguments))
                assert outcome == step.outcome, (number, step)
                assert type(outcome) is type(step.outcome) or step.outcome is None, (number, step)


def test_what_a_protocol_leaves_out_is_in_the_table():
    operations = {
        step.operation for scenario in contract.SCENARIOS for step in scenario.steps if hasattr(step, "operation")
    }
    for left_out in NOT_OFFERED.values():
        assert left_out.keys() <= operations
    adapters = {"http": Http, "grpc": Grpc, "mcp": Mcp}
    for protocol, adapter in adapters.items():
        assert operations - left_out_of(protocol) == {name for name in operations if hasattr(adapter, name)}


def left_out_of(protocol):
    return NOT_OFFERED[protocol].keys()
