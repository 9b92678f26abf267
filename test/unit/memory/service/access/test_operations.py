"""Every operation of every protocol, as each kind of principal: what is answered is what a plain model says.

An operation that the model doesn't know fails here until it is in operations/.
"""

import asyncio
import contextlib
import json
import shutil

import grpc
import httpx2
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from unit.memory.service.access.operations import grpc_calls, http_requests, mcp_calls
from unit.memory.service.access.operations.model import (
    AGENTS,
    CONSENSUS,
    COORDINATION,
    FORBIDDEN,
    HOLDERS,
    ISSUER,
    LEASES,
    MESSAGES,
    METRICS,
    NOBODY,
    OK,
    PATTERNS,
    PLAIN,
    STONES,
    TASKS,
    UNAUTHENTICATED,
    key,
    leaks,
    missing,
    verdict,
)

from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.core.writes import Put
from swarm_operator.memory.service import app
from swarm_operator.memory.service.access.service_accounts import ServiceAccounts
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.grpc.server import GrpcServer
from swarm_operator.memory.service.http.router import Router
from swarm_operator.memory.service.mcp.server import McpServer
from swarm_operator.memory.service.mcp.tools import TOOLS
from swarm_operator.memory.service.peers import Peers
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.swarm import Swarm

DEADLINE = 30
ALONE = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": ALONE,
    "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def vector(namespace):
    """The vector of what a plain namespace holds."""
    return [1.0, len(namespace), 0.5] if namespace in PLAIN else None


async def fill(store):
    """An entry in each plain namespace, and records of each kind. All of a namespace have its word in them."""
    for namespace in PLAIN:
        stone = STONES[namespace]
        await store.put(
            namespace, key(namespace), f"word {stone}", tags=["common", stone], metadata={"stone": stone},
            vector=vector(namespace),
        )  # fmt: skip
    swarm = Swarm(store)
    await swarm.agents.register("ada", {"type": "coder", "stone": STONES[AGENTS]})
    for name in ("open", "claimed"):
        await swarm.tasks.create({"id": name, "stone": STONES[TASKS]})
    await swarm.tasks.claim("claimed", "ada")
    await swarm.patterns.store("review", {"type": "x", "stone": STONES[PATTERNS]})
    await swarm.consensus.propose({"id": "name", "stone": STONES[CONSENSUS]})
    await swarm.leases.claim("queen", STONES[LEASES])
    await swarm.communications.send("bob", "ada", STONES[MESSAGES])
    await swarm.coordination.put("state", STONES[COORDINATION])
    await swarm.metrics.store("load", {"type": "cpu", "stone": STONES[METRICS]})


class Memory:
    """The service's store and files: whether they have changed, and a way back."""

    def __init__(self, service):
        self.store = service.store
        self.backups = service.store.path.parent / "backups"
        self.vault = service.store.path.parent / "vault"
        self.stored = []

    async def state(self):
        """What differs after anything was written."""
        async with self.store.watch() as watch:
            position = watch.position
        files = sorted((*self.backups.iterdir(), *self.vault.rglob("*")))
        return position, files

    async def authors(self, position):
        """Who has written, by its own account, what was written after a position."""
        async with self.store.watch(since=position) as watch:
            changes = await watch.next()
        entries = await self.store.get_many([change[1:3] for change in changes])
        named = {change.updated_by for change in changes if change.op == Op.PUT}
        return named | {entry.updated_by for entry in entries if entry is not None}

    async def keep(self):
        """Remember what is stored."""
        for namespace in STONES:
            self.stored += [
                Put(
                    Draft.create(
                        namespace,
                        each.key,
                        each.value,
                        tags=each.tags,
                        metadata=each.metadata,
                        vector=vector(namespace),
                    )
                )
                for each in (await self.store.list(namespace)).entries
            ]
        await self.store.backup(self.backups / "kept.db")

    async def put_back(self):
        """Store what was stored, and nothing else."""
        for count in (await self.store.namespaces()).namespaces:
            await self.store.delete_range(count.namespace)
        await self.store.batch(self.stored)
        (self.backups / "made.db").unlink(missing_ok=True)


@pytest.fixture
async def service(start_service, tmp_path):
    (tmp_path / "tokens").mkdir()
    further = [
        {
            "name": holder.name, "token": holder.token, "access": "write" if holder.writes else "read",
            **({} if holder.scope is None else {"namespaces": holder.scope}),
        }
        for holder in HOLDERS if not holder.account and holder.name not in {"", "admin", "client"}
    ]  # fmt: skip
    (tmp_path / "tokens" / "tokens.json").write_text(json.dumps({"tokens": further}))
    (tmp_path / "vault").mkdir()
    accounts = [
        ("swarm", holder.name, "write" if holder.writes else "read", holder.scope)
        for holder in HOLDERS if holder.account and holder.known
    ]  # fmt: skip
    file = tmp_path / "service-accounts.json"
    ISSUER.write(file, *accounts)
    backups = f"file://{tmp_path}/vault"
    async with start_service(mcp=True, backups=backups, service_accounts=file) as running:
        peer = {"name": "itself", "url": f"http://127.0.0.1:{running.port}", "token": "client-0123456789abcdef"}
        (running.tokens / "peers.json").write_text(json.dumps({"peers": [peer]}))
        yield running


@pytest.fixture
async def client(service):
    async with httpx2.AsyncClient(
        verify=False, base_url=f"http://127.0.0.1:{service.port}", timeout=DEADLINE
    ) as opened:
        yield opened


@pytest.fixture
async def memory(service):
    await fill(service.store)
    memory = Memory(service)
    memory.backups.mkdir()
    await memory.keep()
    yield memory
    shutil.rmtree(memory.backups)


async def told(store, texts, shows):
    """The texts of a stream, until it has told of a change in the last of these namespaces."""
    found = late = ""
    async for text in texts:
        if not found:
            late = f"late-{STONES[shows[-1]]}"
            for namespace in (*(each for each in STONES if each not in shows), *shows):
                await store.put(namespace, f"late-{STONES[namespace]}", 1)
        found += text
        if late in found:
            break
    return found


def followed(holder, case):
    """The namespaces that a stream tells of."""
    return case.shows if case.shows is not None else [each for each in STONES if holder.covers(each)]


class Http:
    def __init__(self, service, client):
        self.service = service
        self.client = client

    async def __call__(self, holder, case):
        """How it is answered, and the whole answer."""
        method, path, body = case.request
        if case.follows and verdict(holder, case.needs) == OK:
            headers = {"Authorization": f"Bearer {holder.token}"}
            async with self.client.stream(method, path, headers=headers) as answer:
                if answer.status_code == 200:
                    return OK, await told(self.service.store, answer.aiter_text(), followed(holder, case))
                return answer.status_code, ""
        answer = await self.service.call(method, path, body, token=holder.token)
        text = answer.body.decode(errors="replace") + str(answer.headers)
        if answer.status in case.statuses:
            return OK, text
        return {401: UNAUTHENTICATED, 403: FORBIDDEN}.get(answer.status, answer.status), text


class Grpc:
    def __init__(self, service, channel):
        self.service = service
        self.channel = channel

    async def __call__(self, holder, method, case):
        """How it is answered, and the whole answer."""
        service, _, name = method.removeprefix("/").partition("/")
        kind = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        answered = message_factory.GetMessageClass(kind.output_type)
        opened = getattr(
            self.channel,
            f"{'stream' if kind.client_streaming else 'unary'}_{'stream' if kind.server_streaming else 'unary'}",
        )(method, request_serializer=type(case.request).SerializeToString, response_deserializer=answered.FromString)
        metadata = (("authorization", f"Bearer {holder.token}"),) if holder.token else ()
        request = iter([case.request]) if kind.client_streaming else case.request
        call = opened(request, metadata=metadata, timeout=DEADLINE)
        try:
            if not kind.server_streaming:
                return OK, str(await call)
            texts = (str(message) async for message in call)
            if case.follows:
                return OK, await told(self.service.store, texts, followed(holder, case))
            return OK, await anext(texts)
        except grpc.aio.AioRpcError as error:
            code, text = error.code().name, f"{error.details()} {list(error.trailing_metadata() or ())}"
            outcomes = {"UNAUTHENTICATED": UNAUTHENTICATED, "PERMISSION_DENIED": FORBIDDEN}
            return OK if code in case.statuses else outcomes.get(code, code), text
        finally:
            call.cancel()


class Mcp:
    def __init__(self, client):
        self.client = client
        self.sessions = {}

    async def __call__(self, holder, message):
        """How it is answered, and the whole answer."""
        body = {"jsonrpc": "2.0", "id": 1, "method": message.method, "params": dict(message.params)}
        headers = {"Accept": "application/json, text/event-stream"}
        if holder.token:
            headers["Authorization"] = f"Bearer {holder.token}"
        if message.session:
            headers |= await self._session(holder, message, headers)
        else:
            body["params"]["_meta"] = META
            headers |= {"MCP-Protocol-Version": ALONE, "Mcp-Method": message.method}
            named = message.params.get("name") or message.params.get("uri")
            headers |= {"Mcp-Name": named} if named else {}
        async with self.client.stream("POST", "/mcp?toolsets=all", json=body, headers=headers) as answer:
            if message.stream and answer.headers.get("content-type", "").startswith("text/event-stream"):
                text = ""
                async for part in answer.aiter_text():
                    text += part
                    if "\n\n" in text.replace("\r", ""):
                        break
                return self._outcome(json.loads(text.partition("data: ")[2].splitlines()[0])), text
            text = (await answer.aread()).decode()
        if answer.status_code == 401:
            return UNAUTHENTICATED, text
        return self._outcome(json.loads(text)), text

    def _outcome(self, answer):
        if "error" in answer:
            error = answer["error"].get("data") or {}
        elif answer.get("result", {}).get("isError"):
            error = json.loads(answer["result"]["content"][0]["text"])["error"]
        else:
            return OK
        return FORBIDDEN if error.get("code") == "forbidden" else str(answer)

    async def _session(self, holder, message, headers):
        """The headers of the holder's session, which is opened when it is first needed."""
        if message.method == "initialize" or not holder.known:
            return {}
        if holder not in self.sessions:
            hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize"}
            params = mcp_calls.METHODS["initialize"][0].request.params
            opened = await self.client.post("/mcp", json={**hello, "params": params}, headers=headers)
            self.sessions[holder] = opened.headers["mcp-session-id"]
        return {"Mcp-Session-Id": self.sessions[holder], "MCP-Protocol-Version": "2025-06-18"}


async def check(memory, holder, name, case, call):
    """One request: what it is answered, what the answer shows, and what it has changed."""
    before = await memory.state()
    expected = verdict(holder, case.needs)
    async with asyncio.timeout(DEADLINE):
        outcome, text = await call
    where = (holder.name, name, case.request, text[:1000])
    assert outcome == expected, where
    assert not leaks(holder, text), (leaks(holder, text), *where)
    after = await memory.state()
    if outcome == OK:
        assert not missing(holder, case, text), (missing(holder, case, text), *where)
        if after[0] != before[0] and not case.follows:
            assert await memory.authors(before[0]) <= {holder.principal}, where
        if after != before:
            await memory.put_back()
    else:
        assert after == before, where
    return text


holders = pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: holder.name or "nobody")


@holders
async def test_every_operation_of_http_is_answered_by_rights(service, client, memory, holder):
    call = Http(service, client)
    for name, cases in http_requests.CASES.items():
        for case in cases:
            await check(memory, holder, name, case, call(holder, case))


@contextlib.asynccontextmanager
async def grpc_channel(service):
    metrics, settings = ServiceMetrics(), ServiceSettings(grpc_port=0)
    accounts = ServiceAccounts(service.tokens.parent / "service-accounts.json")
    server = GrpcServer(
        service.store, tokens=Tokens(service.tokens, service_accounts=accounts), metrics=metrics, settings=settings,
        quotas=Quotas(settings),
    )  # fmt: skip
    async with server.running(), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


@holders
async def test_every_method_of_grpc_is_answered_by_rights(service, memory, holder):
    async with grpc_channel(service) as channel:
        call = Grpc(service, channel)
        for method, cases in grpc_calls.CASES.items():
            for case in cases:
                await check(memory, holder, method, case, call(holder, method, case))


@holders
async def test_every_tool_and_method_of_mcp_is_answered_by_rights(client, memory, holder):
    call = Mcp(client)
    for name, cases in mcp_calls.TOOLS.items():
        for case in cases:
            message = mcp_calls.Message("tools/call", {"name": name, "arguments": case.request})
            await check(memory, holder, name, case, call(holder, message))
    for name, cases in mcp_calls.METHODS.items():
        for case in cases:
            text = await check(memory, holder, name, case, call(holder, case.request))
            if name == "tools/list" and holder.known:
                assert {tool["name"] for tool in json.loads(text)["result"]["tools"]} == usable(holder)


def usable(holder):
    """The tools of which a holder may do something; of those that may write, all that it may do includes that."""
    return {
        name for name, cases in mcp_calls.TOOLS.items()
        if any(verdict(holder, case.needs) == OK for case in cases)
        and (holder.writes or not any(case.needs.writes or case.needs.admin for case in cases))
    }  # fmt: skip


async def test_the_model_knows_every_operation_of_http(start_service, monkeypatch):
    served = []

    def router(endpoints):
        served.extend(endpoint.operation for endpoint in endpoints)
        return Router(endpoints)

    monkeypatch.setattr(app, "Router", router)
    async with start_service(mcp=True):
        pass
    assert {operation.name for operation in served} == http_requests.CASES.keys()
    for operation in served:
        pattern = operation.path.partition("{")[0]
        requests = [case.request for case in http_requests.CASES[operation.name]]
        assert any(method == operation.method and path.startswith(pattern) for method, path, _ in requests), operation


async def test_the_model_knows_every_method_of_grpc(service):
    async with grpc_channel(service) as channel:
        case = next(cases[0] for name, cases in grpc_calls.CASES.items() if "Reflection" in name)
        (method,) = [name for name in grpc_calls.CASES if "Reflection" in name]
        call = channel.stream_stream(
            method, request_serializer=type(case.request).SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(iter([case.request]), metadata=(("authorization", "Bearer client-0123456789abcdef"),))  # fmt: skip
        answer = await call.read()
        call.cancel()
    served = [each.name for each in answer.list_services_response.service]
    assert len(served) == 3
    found = {
        f"/{service}/{method.name}"
        for service in served for method in descriptor_pool.Default().FindServiceByName(service).methods
    }  # fmt: skip
    assert found == grpc_calls.CASES.keys()


async def test_the_model_knows_every_tool_and_method_of_mcp(service, tmp_path):
    assert {tool.name for tool in TOOLS} == mcp_calls.TOOLS.keys()
    settings = ServiceSettings(data_dir=tmp_path)
    quotas = Quotas(settings)
    peers = Peers(service.tokens, quotas.syncs)
    server = McpServer(service.store, peers=peers, metrics=ServiceMetrics(), settings=settings, quotas=quotas)
    # initialize is the package's own.
    handled = {*server.manager.app._request_handlers, "initialize"}
    assert handled - {"tools/call"} == mcp_calls.METHODS.keys()


def test_the_model_says_what_is_below_what():
    """The model itself, on the cases that matter."""
    beta, alpha = (next(each for each in HOLDERS if each.name == name) for name in ("beta-writer", "alpha-writer"))
    assert [namespace for namespace in PLAIN if alpha.covers(namespace)] == ["alpha", "alpha/beta"]
    assert [namespace for namespace in PLAIN if beta.covers(namespace)] == ["alpha/beta"]
    assert not any(NOBODY.covers(namespace) for namespace in STONES)
    assert leaks(beta, 'in "alpha"') == ["alpha"]
    assert leaks(beta, "memory://alpha%2Fbeta and alpha/beta") == []
    assert leaks(alpha, "alphabet, memory://gamma") == ["alphabet", "gamma"]
    assert leaks(alpha, f"secret-{STONES[TASKS]}") == [STONES[TASKS]]
