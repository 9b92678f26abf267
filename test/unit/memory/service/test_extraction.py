"""A token that is limited to namespaces learns nothing of others' entries, whatever it asks.

Services run on stores that differ only in foreign namespaces: all that the limited token is answered, over HTTP, MCP
and gRPC, is byte for byte the same. The clock stands still, and the key of the cursors is the same.
"""

import asyncio
import contextlib
import http.client
import json
import string
from urllib.parse import urlencode

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.budget import budget
from unit.memory.conftest import running_service

from swarm_operator.memory.service.access.seal import Seal
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.service.grpc.server import GrpcServer
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.sqlite.search import by_text, by_update, planner

TEAM = "team-0123456789abc"
FURTHER = {"tokens": [{"name": "team", "token": TEAM, "access": "write", "namespaces": ["team", "also:mine", "a.b"]}]}
OWN = ("team", "team/notes", "team/notes/deep", "also:mine", "a.b")
FOREIGN = ("teams", "also.mine", "also/mine", "a:b", "a/b", "other", "tea", "zz")
WORDS = ("live", "red", "fox", "hunter2", "queue", "stuck", "Xylophone")
SECRET = "live hunter2secret"


async def write(put, namespace, number):
    """An entry with some of the words and tags."""
    words = [WORDS[(number * step) % len(WORDS)] for step in (1, 2, 5)][: 1 + number % 3]
    await put(
        namespace, f"{'k' if number % 4 else 'note:'}{number:03d}", {"text": " ".join(words), "n": number % 5},
        tags=[f"t{number % 3}"] if number % 2 else [], metadata={"n": number % 4}, ttl=10 if number % 11 == 0 else 0,
    )  # fmt: skip


async def fill(store, clock, foreign):
    """The same own entries, at the same times, among `foreign` ones each."""
    for number in range(60):
        for other in range(foreign):
            await write(store.put, FOREIGN[(number + other) % len(FOREIGN)], number * 7 + other)
        await write(store.put, OWN[number % len(OWN)], number)
        clock.advance(0.001 if number % 3 else 0)
    for number in range(0, 60, 9):
        await write(store.put, OWN[number % len(OWN)], number)
    if foreign:
        await store.put("other", "secret", SECRET, tags=["t1", "secret"])
        await store.delete_range("zz")


@contextlib.asynccontextmanager
async def services(directory, clock):
    """The ports of three services: without foreign entries, with some, and with many."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        began = clock.seconds
        for foreign in (0, 1, 9):
            clock.seconds = began
            place = directory / str(foreign)
            (place / "tokens").mkdir(parents=True)
            (place / "tokens" / "tokens.json").write_text(json.dumps(FURTHER))
            running = running_service(place, clock=clock, seal=Seal(bytes(64)), mcp=True)
            service = await stack.enter_async_context(running)
            service.memory = await stack.enter_async_context(grpc_of(service))
            await fill(service.store, clock, foreign)
            found.append(service)
        clock.advance(5)
        yield found


@contextlib.asynccontextmanager
async def grpc_of(service):
    """A stub of the same store over gRPC, for use on a thread."""
    server = GrpcServer(
        service.store, tokens=Tokens(service.tokens, seal=Seal(bytes(64))), metrics=ServiceMetrics(),
        settings=ServiceSettings(grpc_port=0), quotas=service.quotas,
    )  # fmt: skip
    async with server.running():
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield MemoryStub(channel)


def call(service, name, request):
    """The status and the answer of a call over gRPC: but for the request's id, which is made up."""
    try:
        answer = getattr(service.memory, name)(request, metadata=(("authorization", f"Bearer {TEAM}"),), timeout=60)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, answer


def search_call(service, query):
    request = pb.SearchRequest(
        page_size=query["limit"], page_token=query.get("cursor", ""), tags=query.get("tag"),
        any_tags=query.get("any_tag"), metadata=query.get("metadata", "").encode(), subtree=query.get("subtree"),
        **{name: query[name] for name in ("namespace", "prefix", "glob", "text", "match", "order") if name in query},
    )  # fmt: skip
    if "updated_since" in query:
        since = Timestamp()
        since.FromJsonString(query["updated_since"])
        request.updated_since.CopyFrom(since)
    code, answer = call(service, "Search", request)
    if code is not grpc.StatusCode.OK:
        return code, json.dumps({"error": answer})
    document = {
        "entries": [{"namespace": hit.entry.namespace, "key": hit.entry.key} for hit in answer.hits],
        "next_cursor": answer.next_page_token,
        "all": answer.SerializeToString(deterministic=True).hex(),
    }
    return code, json.dumps(document)


def ask(service, method, path, body=None, **headers):
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"Authorization": f"Bearer {TEAM}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()


def search(service, query):
    texts = {name: "true" if value is True else value for name, value in query.items()}
    return ask(service, "GET", "/v1/search?" + urlencode(texts, doseq=True))


def tool(service, arguments):
    name, version = "memory_search", "2026-07-28"
    meta = {"protocolVersion": version, "clientInfo": {"name": "test", "version": "1"}, "clientCapabilities": {}}
    parameters = {
        "name": name, "arguments": arguments,
        "_meta": {f"io.modelcontextprotocol/{key}": value for key, value in meta.items()},
    }  # fmt: skip
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters})
    headers = {
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": name,
    }  # fmt: skip
    return ask(service, "POST", "/mcp", body, **headers)


def same(running, send, query, pages=8):
    """Send a query to all services and follow its pages; each answer must be the same. Return the entries."""
    found = []
    for _ in range(pages):
        answers = [send(service, query) for service in running]
        assert answers[1:] == answers[:1] * (len(answers) - 1), query
        document = json.loads(answers[0][1])
        document = document.get("result", {}).get("structuredContent") or document
        found += document.get("entries", [])
        if not document.get("next_cursor"):
            break
        query = {**query, "cursor": document["next_cursor"]}
    return found


word = st.sampled_from((*WORDS, "note", "k", "hunt*", "fo*", "liv*", "secret", SECRET))
text = st.lists(word, min_size=1, max_size=3).map(" ".join)
match = st.one_of(
    st.tuples(word, st.sampled_from(("AND", "OR", "NOT")), word).map(
        lambda parts: f'"{parts[0]}" {parts[1]} "{parts[2]}"'
    ),
    st.text(string.ascii_lowercase + '"* ()', min_size=1, max_size=8),
    word.map(lambda each: f"key : {each}"),
    word.map(lambda each: f'"live {each[:5]}" *'),
)
scope = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"namespace": st.sampled_from((*OWN, *FOREIGN))}, optional={"subtree": st.just(True)}),
)
conditions = st.fixed_dictionaries(
    {"limit": st.integers(1, 7)},
    optional={
        "prefix": st.sampled_from(("k", "note", "k0", "x")),
        "tag": st.lists(st.sampled_from(("t0", "t1", "t2", "secret")), min_size=1, max_size=2, unique=True),
        "any_tag": st.lists(st.sampled_from(("t0", "t1", "secret")), min_size=1, max_size=2, unique=True),
        "metadata": st.integers(0, 4).map(lambda number: json.dumps({"n": number})),
        "glob": st.sampled_from(("*1", "k?[02468]*", "note:*")),
        "updated_since": st.sampled_from(("2027-01-15T08:00:00.020Z", "2027-01-15T08:00:00Z", "2031-01-01T00:00:00Z")),
    },
)
kind = st.one_of(
    st.just({}),
    st.just({"order": "updated"}),
    st.just({"order": "key"}),
    text.map(lambda each: {"text": each}),
    match.map(lambda each: {"match": each}),
)
queries = st.tuples(scope, conditions, kind).map(lambda parts: parts[0] | parts[1] | parts[2])


def arguments(query):
    """What MCP calls it."""
    names = {"tag": "tags", "any_tag": "any_tags", "glob": "pattern"}
    left_out = {"match", "order"}
    found = {names.get(name, name): value for name, value in query.items() if name not in left_out}
    if "metadata" in found:
        found["metadata"] = json.loads(found["metadata"])
    return found


ALWAYS = (
    {"text": "live", "namespace": "team", "limit": 2},
    {"text": "red fox", "namespace": "team", "subtree": True, "limit": 5},
    {"match": "red OR hunter2", "limit": 5},
    {"order": "updated", "limit": 5},
    {"order": "updated", "namespace": "team", "subtree": True, "limit": 2},
    {"tag": ["t1"], "limit": 3},
    {"glob": "*9", "limit": 3},
)
"""Queries of each kind."""
VARIANTS = {
    "all is ranked": {},
    "the newest first": {(by_text, "MAX_RANKED"): 3},
    "few bytes are ranked": {(by_text, "MAX_RANKED_BYTES"): 300},
    "pages end early": {(planner, "MAX_CANDIDATES"): 7},
    "no time for the index": {
        (by_text, "_INDEX_SECONDS"): -1,
        (by_text, "_PREFIX_SECONDS"): -1,
        (by_text, "_CLOCK_SECONDS"): -1,
        (by_text, "_CHECK_INTERVAL"): 1,
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
async def test_answers_are_the_same_whatever_others_have_stored(tmp_path, clock, monkeypatch, variant):
    # How long a search takes depends on the machine.
    monkeypatch.setattr(planner, "_MAX_SECONDS", 60)
    monkeypatch.setattr(planner, "_MAX_RANKED_SECONDS", 60)
    monkeypatch.setattr(by_text, "_INDEX_SECONDS", 60)
    monkeypatch.setattr(by_text, "_PREFIX_SECONDS", 60)
    for (module, name), value in VARIANTS[variant].items():
        monkeypatch.setattr(module, name, value)
    async with services(tmp_path, clock) as running:

        @settings(
            max_examples=budget(8, long=25), deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(queries)
        def compare(query):
            same(running, search, query)
            same(running, tool, arguments(query))
            same(running, search_call, query)

        for query in ALWAYS:
            found = await asyncio.to_thread(same, running, search, query)
            assert found, query
            called = await asyncio.to_thread(same, running, search_call, query)
            assert called == [{name: each[name] for name in ("namespace", "key")} for each in found]
        await asyncio.to_thread(compare)
        found = await asyncio.to_thread(same, running, search, {"text": "live"}, 50)
        assert {each["namespace"] for each in found} == set(OWN)


async def test_other_calls_of_grpc_are_answered_the_same_too(tmp_path, clock):
    async with services(tmp_path, clock) as running:

        def same_call(name, request, pages=8):
            """The answers of all pages, which are the same from each service."""
            found = []
            while pages:
                answers = [call(service, name, request) for service in running]
                assert answers[1:] == answers[:1] * (len(answers) - 1), (name, request)
                found.append(answers[0])
                token = getattr(answers[0][1], "next_page_token", "")
                pages = pages - 1 if token else 0
                if token:
                    request.page_token = token
            return found

        ok, denied = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED
        pages = await asyncio.to_thread(same_call, "Namespaces", pb.NamespacesRequest(page_size=2))
        assert [count.namespace for _, page in pages for count in page.namespaces] == sorted(OWN)
        pages = await asyncio.to_thread(same_call, "List", pb.ListRequest(namespace="team", page_size=5))
        assert {code for code, _ in pages} == {ok}
        assert len(pages) > 1
        place, foreign = pb.Identity(namespace="team", key="note:000"), pb.Identity(namespace="other", key="secret")
        for name, request, code in (
            ("Get", pb.GetRequest(namespace="team", key="note:000"), ok),
            ("Get", pb.GetRequest(namespace="other", key="secret"), denied),
            ("GetMany", pb.GetManyRequest(identities=[place, place]), ok),
            ("GetMany", pb.GetManyRequest(identities=[place, foreign]), denied),
            ("List", pb.ListRequest(namespace="other"), denied),
            ("Search", pb.SearchRequest(namespace="other"), denied),
            ("Search", pb.SearchRequest(match='"'), grpc.StatusCode.INVALID_ARGUMENT),
            ("Put", pb.PutRequest(namespace="other", key="secret", value=b"1"), denied),
            ("Put", pb.PutRequest(namespace="team", key="note:000", value=b"1"), ok),
            ("Delete", pb.DeleteRequest(namespace="other", key="secret"), denied),
            ("DeleteRange", pb.DeleteRangeRequest(namespace="other", prefix=""), denied),
            ("Stats", pb.StatsRequest(), denied),
        ):
            ((found, _),) = await asyncio.to_thread(same_call, name, request)
            assert found is code, (name, request)


async def test_a_secret_cannot_be_found_letter_by_letter(tmp_path, clock):
    async with services(tmp_path, clock) as (*_, service):

        def attack():
            """Extend what is known by each letter, as long as an answer says that something matches."""
            known, asked = "hunter2", 0
            while True:
                for letter in string.ascii_lowercase:
                    asked += 1
                    _, body = search(service, {"match": f'"live {known}{letter}" *'})
                    if json.loads(body)["searched"]["candidates"]:
                        known += letter
                        break
                else:
                    return known, asked

        assert await asyncio.to_thread(attack) == ("hunter2", 26)


async def test_cursors_tell_nothing_and_are_for_one_token(tmp_path, clock):
    async with services(tmp_path, clock) as (*_, service):
        status, body = await asyncio.to_thread(search, service, {"order": "updated", "limit": 1})
        page = json.loads(body)
        assert (status, page["searched"]["candidates"]) == (200, 2)
        path = f"/v1/search?order=updated&limit=1&cursor={page['next_cursor']}"
        assert (await service.call("GET", path, token=TEAM)).status == 200
        refused = await service.call("GET", path)
        assert (refused.status, refused.json["field"]) == (400, "cursor")


async def test_a_token_of_very_many_namespaces_sees_its_last_updates_too(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(by_update, "MAX_MERGED", 2)
    async with services(tmp_path, clock) as running:
        for service in running:
            found, cursor = [], {}
            while True:
                _, body = await asyncio.to_thread(search, service, {"order": "updated", "limit": 5, **cursor})
                page = json.loads(body)
                found.append([(each["namespace"], each["key"]) for each in page["entries"]])
                if page["next_cursor"] is None:
                    break
                cursor = {"cursor": page["next_cursor"]}
            found = [place for each in found for place in each]
            assert len(found) == len(set(found)) == 60
            assert {namespace for namespace, _ in found} == set(OWN)
