"""Searching over HTTP, with the client and on the command line."""

import asyncio
import json
from urllib.parse import quote, urlencode

import pytest

from swarm_operator.cmd import memory as command
from swarm_operator.memory.client import MemoryClient
from swarm_operator.memory.sqlite import StoreConfig


async def search(service, query):
    return await service.call("GET", "/v1/search?" + (query if isinstance(query, str) else urlencode(query)))


@pytest.fixture
async def filled(service, clock):
    await service.put("swarm:agents/agent:1", {"status": "idle worker"}, tags=["agent", "idle"], metadata={"zone": 1})
    clock.advance(1)
    await service.put("swarm:agents/agent:2", {"status": "busy worker"}, tags=["agent", "busy"], metadata={"zone": "a"})
    await service.put("swarm:agents%2Fremote/agent:3", "idle", tags=["agent"])
    return service


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["agent:1", "agent:2", "agent:3"]),
        ({"namespace": "swarm:agents"}, ["agent:1", "agent:2"]),
        ({"namespace": "swarm:agents", "subtree": "true"}, ["agent:1", "agent:2", "agent:3"]),
        ("tag=agent&tag=idle", ["agent:1"]),
        ("any_tag=idle&any_tag=busy", ["agent:1", "agent:2"]),
        ({"glob": "*:[23]"}, ["agent:2", "agent:3"]),
        ({"prefix": "agent:2"}, ["agent:2"]),
        ({"metadata": '{"zone":1.0}'}, ["agent:1"]),
        ({"text": "idle", "namespace": "swarm:agents"}, ["agent:1"]),
        ({"match": "busy OR nothing"}, ["agent:2"]),
        ({"order": "updated", "namespace": "swarm:agents"}, ["agent:2", "agent:1"]),
        ({"updated_since": "2027-01-15T09:00:01+01:00", "namespace": "swarm:agents"}, ["agent:2"]),
    ],
)
async def test_every_parameter_narrows_the_search(filled, query, expected):
    answer = await search(filled, query)
    assert answer.status == 200, answer.json
    assert [entry["key"] for entry in answer.json["entries"]] == expected
    assert answer.json["next_cursor"] is None


async def test_the_answer_says_what_was_searched_and_shows_extracts(filled):
    document = (await search(filled, {"text": "worker", "namespace": "swarm:agents", "values": "false"})).json
    assert document["searched"] == {
        "namespace": "swarm:agents", "namespaces": "one", "mode": "words", "order": "rank", "partial": False,
        "candidates": 2,
    }  # fmt: skip
    hit = document["entries"][0]
    assert hit["snippet"] == '{"status":"idle **worker**"}'
    assert hit["score"] >= 0
    assert hit["matched"] == ["value"]
    assert "value" not in hit
    assert "metadata" not in hit
    assert hit["tags"] == ["agent", "idle"]
    assert (await search(filled, {})).json["searched"]["namespaces"] == "all"


@pytest.mark.parametrize("query", [{}, {"tag": "agent"}, {"order": "updated"}, {"text": "agent"}])
async def test_pages_follow_one_another_by_their_cursor(filled, query):
    found, cursor = [], None
    for _ in range(10):
        answer = await search(filled, {**query, "limit": 1, **({"cursor": cursor} if cursor else {})})
        found += [entry["key"] for entry in answer.json["entries"]]
        cursor = answer.json["next_cursor"]
        if cursor is None:
            break
    assert sorted(found) == ["agent:1", "agent:2", "agent:3"]


async def test_a_cursor_is_good_for_its_own_query_only(filled):
    cursor = (await search(filled, {"limit": 1})).json["next_cursor"]
    for query in ({"cursor": cursor, "prefix": "a"}, {"cursor": cursor, "tag": "agent"}):
        answer = await search(filled, query)
        assert (answer.status, answer.json["field"]) == (400, "cursor")


@pytest.mark.parametrize(
    "cursor", ["", "x", "%00", "W10", "bnVsbA", "WzEsMl0", "WzAsImtleSIsMSwyXQ", "WzAsWzFdLDFd", "eyJhIjoxfQ"]
)
async def test_a_cursor_that_is_none_is_refused(filled, cursor):
    answer = await search(filled, f"cursor={cursor}")
    assert (answer.status, answer.json["field"]) == (400, "cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("namespace=", "namespace"),
        ("subtree=yes", "subtree"),
        ("subtree=true", "subtree"),
        ("values=1", "values"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("glob=" + "*" * 9, "glob"),
        ("tag=", "tag"),
        ("&".join(["tag=x"] * 17), "tag"),
        ("metadata=[]", "metadata"),
        ("metadata={", "metadata"),
        ("updated_since=yesterday", "updated_since"),
        ("updated_since=2026-01-01T00:00:00", "updated_since"),
        ("updated_since=0001-01-01T00:00:00Z", "updated_since"),
        ("text=", "text"),
        ("match=(", "match"),
        ("match=*reads", "match"),
        ("match=rank:x", "match"),
        ("match=entries_text:x", "match"),
        ("match=x%00", "match"),
        ("text=a&match=b", "match"),
        ("order=rank", "order"),
        ("namespace=a&namespace=b", "namespace"),
        ("what=1", "query parameter 'what'"),
    ],
)
async def test_what_is_wrong_is_named(service, query, field):
    answer = await search(service, query)
    assert (answer.status, answer.json["field"]) == (400, field)


@pytest.mark.parametrize(
    "expression",
    [
        "^",
        "-a",
        "a -b",
        "NEAR(a b, 999999999999)",
        '"' * 7,
        "a + b",
        "{key}:a",
        "- key : a",
        "NOT",
        "AND OR",
        "a AND",
        "(((((a)))))",
        "(" * 300 + "a" + ")" * 300,
        "a*b*c",
        "é NEAR ü",
        "key:value:x",
        "\\",
        "';--",
        "a.b",
    ],
)
async def test_no_expression_is_a_defect(filled, expression):
    assert (await search(filled, "match=" + quote(expression))).status in {200, 400}
    assert (await search(filled, "text=" + quote(expression))).status in {200, 400}


async def test_without_the_index_a_text_is_refused(start_service):
    async with start_service(config=StoreConfig(full_text=False)) as service:
        answer = await search(service, "text=a")
        assert (answer.status, answer.json["field"]) == (400, "text")
        assert not (await service.call("GET", "/v1/stats")).json["settings"]["full_text"]


async def test_searches_are_measured_and_take_a_token(service):
    assert (await service.call("GET", "/v1/search", token=None)).status == 401
    assert (await search(service, "")).status == 200
    text = await service.metrics()
    assert 'swarm_memory_operation_duration_seconds_count{operation="search"} 1.0' in text
    assert 'route="/v1/search"' in text


async def test_the_client_finds_page_by_page(filled):
    async with MemoryClient(f"http://127.0.0.1:{filled.port}", token_file=filled.tokens / "client-token") as memory:
        hits = [hit async for hit in memory.find(tags=["agent"], limit=1)]
        assert [hit.key for hit in hits] == ["agent:1", "agent:2", "agent:3"]
        page = await memory.search(text="worker", metadata={"zone": "a"}, namespace="swarm:agents", subtree=True)
        assert [(hit.value, hit.score is not None) for hit in page.hits] == [({"status": "busy worker"}, True)]
        assert "**worker**" in page.hits[0].snippet
        assert page.hits[0].matched == ("value",)
        assert hits[0].matched == ()
        assert page.searched["namespaces"] == "subtree"


async def test_the_command_line_finds_them(filled, capsys):
    flags = ["--url", f"http://127.0.0.1:{filled.port}", "--token-file", str(filled.tokens / "client-token")]
    code = await asyncio.to_thread(
        command.main, ["search", "work*", "--tag", "agent", "--no-values", "--limit", "1", *flags]
    )
    lines = capsys.readouterr().out.splitlines()
    assert (code, len(lines)) == (0, 1)
    assert json.loads(lines[0])["key"].startswith("agent:")
    assert await asyncio.to_thread(command.main, ["search", "--metadata", "[]", *flags]) == 2
