"""Searching by words, meaning and both, over HTTP, with the clients and on the command line."""

import asyncio
import base64
import json
import re
import struct
from array import array
from urllib.parse import urlencode

import pytest

from swarm_operator.cmd import memory as command
from swarm_operator.memory.client import MemoryClient, MemoryRequestError, SyncMemoryClient
from swarm_operator.memory.core.errors import EmbeddingError
from swarm_operator.memory.service.http.routes.search import MAX_BODY_BYTES

EAST, NORTH, WEST = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]
QUESTIONS = [
    "What's in the east?", 'Is it (now) so: "sun" AND/OR moon - or neither?', "C++ & C#; why not 'Go'?!", "sun*moon",
    "A*, or B*?", 'Is "A*" east?', "A*B", "NEAR(sun moon, 2)", "key:east", "^sun", "¿Dónde está el sol?", "a OR", "NOT",
    "{sun} [east] <north> \\ / | ~ `",
]  # fmt: skip


def packed(vector):
    """A vector as bytes, by other means than the service's."""
    return struct.pack(f"<{len(vector)}f", *vector)


async def search(service, body, **options):
    return await service.call("POST", "/v1/search", body, **options)


@pytest.fixture
async def filled(service):
    await service.put("mind/east", "The sun rises", vector=EAST)
    await service.put("mind/north", "No sun, only ice", vector=base64.b64encode(packed(NORTH)).decode())
    await service.put("mind/west", "The moon", vector=[-0.9, 0.1, 0.0])
    await service.put("mind/plain", "A sun without a vector")
    return service


def keys(document):
    return [entry["key"] for entry in document["entries"]]


async def test_a_vector_finds_what_is_similar(filled):
    document = (await search(filled, {"namespace": "mind", "vector": EAST})).json
    assert keys(document) == ["east", "north", "west"]
    assert [entry["rank"] for entry in document["entries"]] == [1, 2, 3]
    for entry in document["entries"]:
        assert entry["score"] == entry["cosine"]
        assert "words" not in entry
    assert document["entries"][0]["cosine"] == pytest.approx(1, abs=0.01)
    assert document["entries"][2]["cosine"] == pytest.approx(-0.994, abs=0.01)
    assert (document["searched"]["mode"], document["searched"]["order"]) == ("meaning", "rank")


async def test_a_hybrid_hit_tells_its_places(filled):
    document = (await search(filled, {"namespace": "mind", "vector": EAST, "text": "sun"})).json
    assert document["searched"]["mode"] == "hybrid"
    found = {entry["key"]: entry for entry in document["entries"]}
    assert set(found) == {"east", "north", "west", "plain"}
    assert [entry["rank"] for entry in document["entries"]] == [1, 2, 3, 4]
    assert sorted(found[key]["words"] for key in ("east", "north", "plain")) == [1, 2, 3]
    assert "words" not in found["west"]
    assert "cosine" not in found["plain"]
    assert keys(document)[0] == "east"
    assert "**sun**" in found["east"]["snippet"]
    scores = [entry["score"] for entry in document["entries"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 0.1, "a fused score is no cosine"


@pytest.mark.parametrize("query", [{"vector": EAST}, {"vector": EAST, "text": "sun"}, {"text": "sun"}])
async def test_ranks_go_on_from_page_to_page(filled, query):
    whole = (await search(filled, {**query, "namespace": "mind"})).json
    seen, cursor = [], None
    while True:
        place = {} if cursor is None else {"cursor": cursor}
        page = (await search(filled, {**query, **place, "namespace": "mind", "limit": 1})).json
        seen += [(entry["key"], entry["rank"]) for entry in page["entries"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [(entry["key"], rank) for rank, entry in enumerate(whole["entries"], start=1)]


async def test_a_cursor_of_the_body_is_good_for_the_query_string(filled):
    query = {"namespace": "mind", "tag": [], "text": "sun", "limit": 1}
    first = (await search(filled, query)).json
    place = {"namespace": "mind", "text": "sun", "limit": 1, "cursor": first["next_cursor"]}
    second = await filled.call("GET", "/v1/search?" + urlencode(place))
    assert second.json["entries"][0]["rank"] == 2
    other = await search(filled, {**query, "vector": EAST, "cursor": first["next_cursor"]})
    assert (other.status, other.json["field"]) == (400, "cursor")


async def test_the_body_takes_what_the_query_string_takes(filled):
    await filled.put("mind%2Fdeep/a", 1, tags=["x", "y"], metadata={"n": 1})
    answer = await search(
        filled,
        {
            "namespace": "mind", "subtree": True, "prefix": "a", "glob": "?", "tag": ["x"], "any_tag": ["y", "z"],
            "metadata": {"n": 1}, "updated_since": "2020-01-01T00:00:00Z", "order": "key", "values": False, "limit": 5,
        },
    )  # fmt: skip
    assert keys(answer.json) == ["a"]
    assert "value" not in answer.json["entries"][0]
    assert "mode" not in answer.json["searched"]


WRONG = [
    ({"mode": "magic", "text": "a"}, "mode"),
    ({"mode": "words"}, "mode"),
    ({"mode": "words", "text": "a", "vector": EAST}, "mode"),
    ({"mode": "meaning"}, "mode"),
    ({"mode": "meaning", "match": "a"}, "mode"),
    ({"mode": "hybrid", "vector": EAST}, "mode"),
    ({"vector": []}, "vector"),
    ({"vector": [0, 0]}, "vector"),
    ({"vector": ["1"]}, "vector"),
    ({"vector": [True]}, "vector"),
    ({"vector": {}}, "vector"),
    ({"vector": [1e39]}, "vector"),
    ({"vector": [1] * 4097}, "vector"),
    ({"vector": "AAAA"}, "vector"),
    ({"vector": "?"}, "vector"),
    ({"vector": "AADAfw=="}, "vector"),
    ({"vector": "ü"}, "vector"),
    ({"vector": EAST, "order": "key"}, "order"),
    ({"namespace": 1}, "namespace"),
    ({"namespace": None}, "namespace"),
    ({"subtree": 1}, "subtree"),
    ({"tag": "a"}, "tag"),
    ({"tag": [1]}, "tag"),
    ({"metadata": "{}"}, "metadata"),
    ({"limit": True}, "limit"),
    ({"limit": 0}, "limit"),
    ({"text": ["a"]}, "text"),
    ({"updated_since": 5}, "updated_since"),
    ({"cursor": 5}, "cursor"),
    ({"explain": "yes"}, "explain"),
    ({"what": 1}, "body: unknown member 'what'"),
    ([], "body"),
    (None, "body"),
]


async def test_what_is_wrong_in_a_body_is_named(service):
    for body, field in WRONG:
        answer = await search(service, body)
        assert (answer.status, answer.json["field"]) == (400, field), body


async def test_a_body_has_a_limit(service):
    body = b'{"text":"' + b"x" * MAX_BODY_BYTES + b'"}'
    answer = await search(service, body)
    assert answer.status == 413
    widest = b'{"vector":[' + b",".join([b"-0.12345678901234567"] * 4096) + b"]}"
    assert (await search(service, widest)).status == 200
    assert (await search(service, b"{}", content_type="text/xml")).status == 415


async def test_a_question_is_never_a_syntax_error(filled):
    for question in QUESTIONS:
        for query in ({"text": question}, {"text": question, "mode": "words"}, {"text": question, "vector": EAST}):
            answer = await search(filled, query)
            assert answer.status == 200, (query, answer.json)
        answer = await filled.call("GET", "/v1/search?" + urlencode({"text": question}))
        assert answer.status == 200, (question, answer.json)


async def test_a_memory_without_an_embedder_says_that_it_has_none(filled):
    for mode in ("meaning", "hybrid"):
        answer = await filled.call("GET", f"/v1/search?text=sun&mode={mode}")
        assert answer.json == (await search(filled, {"text": "sun", "mode": mode})).json
        assert (answer.status, answer.json["field"]) == (400, "mode")
        assert "embedder" in answer.json["allowed"]
    assert (await search(filled, {"text": "sun"})).json["searched"]["mode"] == "words"


async def test_explain_tells_the_steps_of_a_search(filled):
    assert "steps" not in (await search(filled, {"vector": EAST})).json["searched"]
    for query in ({"vector": EAST}, {"vector": EAST, "text": "sun"}, {"text": "sun"}, {"prefix": "ea"}):
        steps = (await search(filled, {**query, "explain": True})).json["searched"]["steps"]
        assert steps
        for step in steps:
            assert step.keys() == {"name", "candidates", "milliseconds"}
            assert step["milliseconds"] >= 0
    answer = await filled.call("GET", "/v1/search?text=sun&explain=true")
    assert answer.json["searched"]["steps"][-1]["candidates"] == 3


async def test_a_limited_token_learns_nothing_of_others_from_the_steps(start_service, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    team = {"name": "team", "token": "team-0123456789abcdef", "access": "read", "namespaces": ["team"]}
    (tokens / "tokens.json").write_text(json.dumps({"tokens": [team]}))
    query = {"vector": EAST, "text": "sun", "explain": True}
    async with start_service() as service:
        await service.put("team/a", "one sun", vector=EAST)
        alone = (await search(service, query, token=team["token"])).json
        for number in range(9):
            await service.put(f"other/{number}", "another sun", vector=EAST)
        beside = (await search(service, query, token=team["token"])).json
        assert keys(beside) == ["a"]
        for document in (alone, beside):
            assert all(step.keys() == {"name", "candidates"} for step in document["searched"]["steps"])
        assert beside == alone
        assert any(step["candidates"] > 1 for step in (await search(service, query)).json["searched"]["steps"])


async def test_searches_are_counted_by_mode_and_outcome(filled):
    for query in (
        {}, {"text": "sun"}, {"vector": EAST}, {"vector": EAST, "text": "sun"}, {"text": "sun", "mode": "meaning"},
        {"vector": EAST, "namespace": "mind", "cursor": "x"},
    ):  # fmt: skip
        await search(filled, query)
    text = await filled.metrics()
    for mode, outcome, count in (
        ("conditions", "ok", 1), ("words", "ok", 1), ("meaning", "ok", 1), ("hybrid", "ok", 1),
        ("meaning", "refused", 1), ("hybrid", "failed", 0), ("words", "partial", 0),
    ):  # fmt: skip
        assert f'swarm_memory_searches_total{{mode="{mode}",outcome="{outcome}"}} {count}.0' in text
    assert 'swarm_memory_operation_duration_seconds_count{operation="search-post"} 4.0' in text


class Topics:
    """An embedder that knows three topics, and no other words."""

    name, width = "topics", 3
    topics = ({"sun", "star", "dawn"}, {"ice", "snow", "cold"}, {"ship", "sea", "sail"})
    fails = False

    async def embed(self, texts):
        if self.fails:
            raise EmbeddingError("the embedder does not answer")
        words = [set(re.findall(r"\w+", text.lower())) for text in texts]
        return [packed([float(len(topic & found)) for topic in self.topics]) for found in words]


@pytest.fixture
def topics():
    return Topics()


@pytest.fixture
async def embedding(start_service, topics):
    async with start_service(embedder=topics) as service:
        await service.put("mind/dawn", "Dawn: the first star")
        await service.put("mind/winter", "Snow and cold")
        await service.put("mind/harbour", "A ship at sea")
        yield service


async def test_with_an_embedder_a_question_finds_what_it_means(embedding):
    document = (await embedding.call("GET", "/v1/search?" + urlencode({"text": "When does the sun rise?"}))).json
    assert (document["searched"]["mode"], keys(document)[0]) == ("hybrid", "dawn")
    by_meaning = (await search(embedding, {"text": "Where can I sail?", "mode": "meaning", "limit": 1})).json
    assert keys(by_meaning) == ["harbour"]
    assert by_meaning["entries"][0]["cosine"] > 0.5
    by_words = (await search(embedding, {"text": "snow", "mode": "words"})).json
    assert (by_words["searched"]["mode"], keys(by_words)) == ("words", ["winter"])
    assert re.search(r"^swarm_memory_embed_texts_total [1-9]", await embedding.metrics(), re.MULTILINE)


async def test_an_embedder_that_fails_is_told_and_counted(embedding, topics):
    topics.fails = True
    answer = await search(embedding, {"text": "sun", "mode": "meaning"})
    assert (answer.status, answer.json["type"]) == (503, "urn:swarm-memory:problem:embedding")
    by_words = (await search(embedding, {"text": "snow"})).json
    assert (by_words["searched"]["mode"], keys(by_words)) == ("words", ["winter"])
    text = await embedding.metrics()
    assert 'swarm_memory_searches_total{mode="meaning",outcome="failed"} 1.0' in text
    assert 'swarm_memory_errors_total{code="embedding"} 1.0' in text
    assert re.search(r"^swarm_memory_embed_failures_total [2-9]", text, re.MULTILINE)


def options(service):
    return {"base_url": f"http://127.0.0.1:{service.port}", "token_file": service.tokens / "client-token"}


async def test_the_client_writes_and_finds_vectors(service):
    async with MemoryClient(**options(service)) as memory:
        await memory.put("mind", "east", "The sun", vector=EAST)
        await memory.put("mind", "north", "Ice", vector=array("f", NORTH))
        await memory.batch([
            {"op": "put", "namespace": "mind", "key": "west", "value": 1, "vector": WEST},
            {"op": "put", "namespace": "mind", "key": "up", "value": 1, "vector": packed([0, 0, 1])},
        ])  # fmt: skip
        page = await memory.search(namespace="mind", vector=packed(EAST), limit=1)
        (hit,) = page.hits
        assert (hit.key, hit.rank, hit.words, page.searched["mode"]) == ("east", 1, None, "meaning")
        assert hit.cosine == hit.score == pytest.approx(1, abs=0.01)
        both = await memory.search(namespace="mind", vector=EAST, text="sun", mode="hybrid", explain=True)
        assert (both.hits[0].key, both.hits[0].words) == ("east", 1)
        assert both.searched["steps"]
        found = [hit.key async for hit in memory.find(namespace="mind", vector=EAST, metadata={}, limit=1)]
        assert (found[0], found[-1], len(found)) == ("east", "west", 4)
        with pytest.raises(MemoryRequestError, match="vector"):
            await memory.put("mind", "wide", 1, vector=[1, 2])
        with pytest.raises(ValueError, match="vector: "):
            await memory.search(vector=["east"])

    def synchronous():
        with SyncMemoryClient(**options(service)) as memory:
            memory.put("mind", "down", 1, vector=(0, 0, -1))
            return memory.search(namespace="mind", vector=[0, 0, -1], limit=1).hits[0].key

    assert await asyncio.to_thread(synchronous) == "down"


async def test_the_command_line_searches_by_mode(embedding, capsys):
    flags = ["--url", f"http://127.0.0.1:{embedding.port}", "--token-file", str(embedding.tokens / "client-token")]
    for mode, expected in (("words", []), ("meaning", ["dawn"])):
        code = await asyncio.to_thread(
            command.main, ["search", "sun?", "--mode", mode, "--limit", "1", "--no-values", *flags]
        )
        lines = capsys.readouterr().out.splitlines()
        assert (code, [json.loads(line)["key"] for line in lines]) == (0, expected)
