"""Writes that look for their near-duplicate, over HTTP, with the clients and on the command line."""

import asyncio
import json

import pytest
from support.embedders import WordEmbedder
from unit.memory.conftest import running_service

from swarm_operator.cmd import memory as command
from swarm_operator.memory.client import (
    Duplicate,
    MemoryBusyError,
    MemoryClient,
    MemoryDuplicateError,
    SyncMemoryClient,
)
from swarm_operator.memory.service.http.direct import Direct
from swarm_operator.memory.transfer.export import export_lines

FACT = "The payment gateway times out after thirty seconds"


@pytest.fixture
def embedder():
    return WordEmbedder()


@pytest.fixture
async def service(start_service, embedder):
    async with start_service(embedder=embedder) as running:
        await running.put("facts/1", FACT)
        yield running


async def write(service, key, value=FACT, *, namespace="facts", **members):
    body = {"value": value, "on_duplicate": "refuse", **members}
    return await service.call("PUT", f"/v1/entries/{namespace}/{key}", body)


async def test_a_refusal_names_the_key_and_the_cosine(service):
    answer = await write(service, 2)
    assert (answer.status, answer.json["type"]) == (409, "urn:swarm-memory:problem:duplicate")
    assert (answer.json["key"], answer.json["cosine"]) == ("1", 1.0)
    assert (await service.call("GET", "/v1/entries/facts/2")).status == 404
    assert (await write(service, 2, "It rains")).status == 201
    text = await service.metrics()
    assert 'swarm_memory_duplicates_total{outcome="refused"} 1.0' in text
    assert 'swarm_memory_duplicates_total{outcome="linked"} 0.0' in text


async def test_a_link_is_in_the_answer_the_metadata_the_search_and_the_export(service, tmp_path):
    answer = await write(service, 2, on_duplicate="link", threshold=0.5, metadata={"by": "ada"})
    assert (answer.status, answer.headers["etag"]) == (201, '"1"')
    assert (answer.json["duplicate"], answer.json["updated_by"]) == ({"key": "1", "cosine": 1.0}, "client")
    entry = (await service.call("GET", "/v1/entries/facts/2")).json
    assert entry["metadata"] == {"by": "ada", "duplicate_of": "1"}
    found = await service.call("GET", "/v1/search?metadata=%7B%22duplicate_of%22:%221%22%7D")
    assert [hit["key"] for hit in found.json["entries"]] == ["2"]
    lines = b"".join([line async for line in export_lines(service.store, namespaces=["facts"])])
    (tmp_path / "other").mkdir()
    async with running_service(tmp_path / "other") as other:
        assert (await other.call("POST", "/v1/import", lines)).json["created"] == 2
        assert (await other.call("GET", "/v1/entries/facts/2")).json["metadata"] == entry["metadata"]


async def test_conditions_and_rules_go_together(service):
    body = {"value": "It rains", "on_duplicate": "refuse"}
    target = "/v1/entries/facts/2"
    assert (await service.call("PUT", target, body, if_match="*")).status == 412
    assert (await service.call("PUT", target, body, if_none_match="*")).status == 201
    assert (await service.call("PUT", target, body, if_none_match="*")).status == 412
    answer = await service.call("PUT", target, body, if_match='"1", "7"')
    assert (answer.status, answer.json["version"]) == (200, 2)
    assert "duplicate" not in answer.json
    body["value"] = FACT
    assert (await service.call("PUT", target, body, if_match='"2"')).status == 409


async def test_the_direct_path_leaves_it_to_the_application(service, monkeypatch):
    begun = []

    def answer(direct, connection, data, wrapped=Direct.answer):
        begun.append(wrapped(direct, connection, data))
        return begun[-1]

    monkeypatch.setattr(Direct, "answer", answer)
    assert (await write(service, 2)).status == 409
    assert (await write(service, 2, on_duplicate="keep")).status == 201
    assert begun == [False, True]


async def test_a_token_is_told_nothing_of_other_namespaces(service):
    await service.put("facts%2Fsecret/9", FACT)
    answer = await write(service, 1, namespace="facts%2Fopen")
    assert (answer.status, "duplicate" in answer.json) == (201, False)


async def test_each_operation_of_a_batch_has_its_result(service):
    operations = [
        {"op": "put", "namespace": "facts", "key": key, "value": value, **members}
        for key, value, members in [
            ("2", FACT, {"on_duplicate": "refuse"}),
            ("3", FACT, {"on_duplicate": "link"}),
            ("4", "It rains", {"on_duplicate": "link"}),
            ("5", FACT, {}),
        ]
    ]
    answer = await service.call("POST", "/v1/batch", {"operations": operations, "atomic": False})
    refused, linked, alone, kept = answer.json["results"]
    assert (refused["status"], refused["problem"]["key"]) == (409, "1")
    assert (linked["status"], linked["entry"]["duplicate"]) == (201, {"key": "1", "cosine": 1.0})
    assert [result["entry"].get("duplicate") for result in (alone, kept)] == [None, None]
    operations[0]["key"] = "6"
    answer = await service.call("POST", "/v1/batch", {"operations": [operations[3], operations[0]]})
    assert (answer.status, answer.json["index"], answer.json["cosine"]) == (409, 1, 1.0)


async def test_an_embedder_that_is_away_is_a_503_that_says_what_to_do(service, embedder):
    embedder.failing = True
    answer = await write(service, 2)
    assert (answer.status, answer.json["type"]) == (503, "urn:swarm-memory:problem:embedding")
    assert answer.headers["retry-after"] == "1"
    assert answer.json["detail"].endswith("retry, or write with on_duplicate: keep")
    assert (await service.call("GET", "/v1/entries/facts/2")).status == 404


async def test_twenty_agents_write_a_fact_once(service):
    answers = await asyncio.gather(*(write(service, key, "The cat sat on a mat") for key in range(10, 30)))
    assert sorted(answer.status for answer in answers) == [201] + 19 * [409]


async def test_the_clients_name_the_twin(service, embedder):
    url, token = f"http://127.0.0.1:{service.port}", "client-0123456789abcdef"
    async with MemoryClient(url, token=token, retry_for=0) as memory:
        with pytest.raises(MemoryDuplicateError) as refused:
            await memory.put("facts", "2", FACT, on_duplicate="refuse")
        assert (refused.value.key, refused.value.cosine, refused.value.code) == ("1", 1.0, "duplicate")
        head = await memory.put("facts", "2", FACT, on_duplicate="link", threshold=0.5)
        assert head.duplicate == Duplicate("1", 1.0)
        assert (await memory.put("facts", "3", "It rains", on_duplicate="refuse")).duplicate is None
        operation = {"op": "put", "namespace": "facts", "key": "4", "value": FACT, "on_duplicate": "link"}
        (result,) = await memory.batch([operation])
        assert result.entry.duplicate.cosine == 1.0
        embedder.failing = True
        with pytest.raises(MemoryBusyError, match="on_duplicate: the embedder is away; retry, or write with"):
            await memory.put("facts", "5", FACT, on_duplicate="refuse")
    embedder.failing = False

    def synchronous():
        with SyncMemoryClient(url, token=token) as memory:
            return memory.put("facts", "6", FACT, on_duplicate="link").duplicate.cosine

    assert await asyncio.to_thread(synchronous) == 1.0


async def test_the_command_line_names_the_twin(service, monkeypatch, capsys):
    monkeypatch.setenv("SWARM_MEMORY_URL", f"http://127.0.0.1:{service.port}")
    monkeypatch.setenv("SWARM_MEMORY_TOKEN_FILE", str(service.tokens / "client-token"))

    async def run(*arguments):
        code = await asyncio.to_thread(command.main, ["put", "facts", "2", json.dumps(FACT), *arguments, "-o", "json"])
        return code, *capsys.readouterr()

    code, _, complaint = await run("--on-duplicate", "refuse")
    assert (code, "on_duplicate: the entry '1' has almost the same meaning" in complaint) == (1, True)
    code, out, _ = await run("--on-duplicate", "link", "--threshold", "0.95")
    assert (code, json.loads(out)["duplicate"]) == (0, {"key": "1", "cosine": 1.0})
    code, _, complaint = await run("--threshold", "2")
    assert (code, "a number above 0 and up to 1" in complaint) == (2, True)
