"""Batches and deleting many over HTTP."""

import asyncio
import re
import sqlite3

import orjson
import pytest
from support.pages import DOCS

from swarm_operator.cmd import memory as command
from swarm_operator.memory.client import MemoryClient, MemoryConflictError
from swarm_operator.memory.sqlite import StoreConfig


def put(key, value, **members):
    return {"op": "put", "namespace": "n", "key": key, "value": value, **members}


def get(key):
    return {"op": "get", "namespace": "n", "key": key}


def delete(key, **members):
    return {"op": "delete", "namespace": "n", "key": key, **members}


async def batch(service, *operations, **members):
    return await service.call("POST", "/v1/batch", {"operations": operations, **members})


async def test_each_operation_has_the_answer_that_it_would_have_had_alone(service):
    await service.put("n/old", 0)
    answer = await batch(
        service, put("a", [1], tags=["t"], ttl=60), put("old", 1), delete("old"), delete("x"), get("a")
    )
    assert answer.status == 200
    results = answer.json["results"]
    assert [result["status"] for result in results] == [201, 200, 204, 404, 200]
    single = (await service.call("GET", "/v1/entries/n/a")).json
    assert results[4]["entry"] == single
    assert results[0]["entry"] == {k: v for k, v in single.items() if k not in {"tags", "metadata", "value"}}
    assert results[3]["problem"]["type"] == "urn:swarm-memory:problem:not-found"


async def test_gets_see_what_the_batch_wrote_wherever_they_stand(service):
    answer = await batch(service, get("a"), put("a", 1), put("a", 2))
    assert answer.json["results"][0]["entry"]["value"] == 2


async def test_an_atomic_batch_fails_as_the_operation_that_failed_and_names_it(service):
    await service.put("n/a", 1)
    answer = await batch(service, get("a"), put("b", 1), put("a", 2, create_only=True))
    assert answer.status == 412
    assert (answer.json["index"], answer.json["current_version"]) == (2, 1)
    assert answer.json["type"] == "urn:swarm-memory:problem:version-conflict"
    assert (await service.call("GET", "/v1/entries/n/b")).status == 404


async def test_without_atomic_the_others_are_written(service):
    answer = await batch(service, put("a", 1), put("a", 2, if_version=9), delete("a", if_version=1), atomic=False)
    assert [result["status"] for result in answer.json["results"]] == [201, 412, 204]
    assert answer.json["results"][1]["problem"]["current_version"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "body"),
        ({"operations": {}}, "body"),
        ({"operations": [], "atomc": True}, "body: unknown member 'atomc'"),
        ({"operations": [], "atomic": 1}, "atomic"),
        ({"operations": [1]}, "operations[0].op"),
        ({"operations": [{"op": "incr"}]}, "operations[0].op"),
        ({"operations": [{"op": []}]}, "operations[0].op"),
        ({"operations": [get("a"), {"op": "get", "namespace": "n"}]}, "operations[1].key"),
        ({"operations": [{"op": "delete", "key": "k"}]}, "operations[0].namespace"),
        ({"operations": [{"op": "put", "namespace": "n", "key": "k"}]}, "operations[0].value"),
        ({"operations": [put("", 1)]}, "operations[0].key"),
        ({"operations": [put("k", 1, tags="t")]}, "operations[0].tags"),
        ({"operations": [put("k", 1, ttl=True)]}, "operations[0].ttl"),
        ({"operations": [put("k", 1, if_version="1")]}, "operations[0].if_version"),
        ({"operations": [put("k", 1, if_version=0)]}, "operations[0].if_version"),
        ({"operations": [put("k", 1, create_only=1)]}, "operations[0].create_only"),
        ({"operations": [put("k", 1, create_only=True, if_version=1)]}, "operations[0].if_version"),
        ({"operations": [{**get("k"), "value": 1}]}, "operations[0].get: unknown member 'value'"),
        ({"operations": [delete("k")] * 1001}, "operations"),
    ],
)
async def test_what_cannot_be_understood_is_refused_whole_and_named(service, body, field):
    answer = await service.call("POST", "/v1/batch", body)
    assert (answer.status, answer.json["field"]) == (400, field)
    assert (await service.store.stats()).entries == 0


async def test_a_value_may_nest_as_deep_as_in_a_single_write(service):
    def nested(levels):
        value = []
        for _ in range(levels - 1):
            value = [value]
        return value

    assert (await batch(service, put("deep", nested(64)))).status == 200
    answer = await batch(service, put("deeper", nested(65)))
    assert (answer.status, answer.json["allowed"]) == (400, "at most 64 nested arrays and objects")
    for depth in (200, 300, 900, 5000):
        text = b"[" * depth + b"]" * depth
        for body in (b'{"operations":[{"op":"put","namespace":"n","key":"k","value":%s}]}', b'{"operations":%s}'):
            # Twenty digits send it to the slow parser as well.
            for digits in (b"", b',"x":1234567890123456789012'):
                answer = await service.call("POST", "/v1/batch", (body % text)[:-1] + digits + b"}")
                assert answer.status == 400


async def test_a_batch_is_posted_with_a_token(service):
    assert (await service.call("GET", "/v1/batch")).status == 405
    assert (await service.call("POST", "/v1/batch", {"operations": []}, token=None)).status == 401
    assert (await batch(service)).json == {"results": []}


async def test_entries_are_deleted_by_prefix_and_only_when_it_is_given(service):
    await batch(service, put("a1", 1), put("a2", 1), put("b", 1))
    answer = await service.call("DELETE", "/v1/entries?namespace=n")
    assert (answer.status, answer.json["field"]) == (400, "prefix")
    assert (await service.call("DELETE", "/v1/entries?namespace=n&prefix=a")).json == {"deleted": 2}
    assert (await service.call("DELETE", "/v1/entries?namespace=n&prefix=")).json == {"deleted": 1}


async def test_the_client_does_both(service):
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as memory:
        results = await memory.batch([put("a", 1), get("a"), delete("b")])
        assert [result.ok for result in results] == [True, True, False]
        assert (results[0].entry.version, results[1].entry.value) == (1, 1)
        with pytest.raises(MemoryConflictError) as caught:
            await memory.batch([put("b", 1), put("a", 2, if_version=7)])
        assert caught.value.problem["index"] == 1
        assert await memory.delete_range("n", prefix="") == 1


async def test_the_examples_in_the_docs_run(service):
    text = (DOCS / "batch.md").read_text()
    body = re.search(r"/v1/batch -d '(.*?)'\n", text, re.DOTALL)[1]
    answer = await service.call("POST", "/v1/batch", orjson.loads(body))
    assert [result["status"] for result in answer.json["results"]] == [201, 201, 404, 200]
    example = re.search(r"In Python:\n\n(.*?)\n\n`", text, re.DOTALL)[1]
    code = "async def example(memory):\n" + example
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as memory:
        scope = {}
        exec(code, scope)
        await scope["example"](memory)
        assert (await memory.get("plan", "step:3")).value == 3


async def test_the_command_line_sends_a_file_of_operations(service, tmp_path, capsys):
    flags = ["--url", f"http://127.0.0.1:{service.port}", "--token-file", str(service.tokens / "client-token")]

    async def run(*lines, each=False):
        file = tmp_path / "operations"
        file.write_text("\n".join(line if isinstance(line, str) else orjson.dumps(line).decode() for line in lines))
        code = await asyncio.to_thread(command.main, ["batch", str(file), *(["--each"] if each else []), *flags])
        output = capsys.readouterr()
        return code, [orjson.loads(line)["status"] for line in output.out.splitlines()], output.err

    assert await run(put("a", 1), "", get("a"), delete("never")) == (0, [201, 200, 404], "")
    assert (await run(*(put(f"k{number}", number) for number in range(501))))[:2] == (0, [201] * 501)
    conflict = put("a", 2, create_only=True)
    code, statuses, err = await run(put("b", 1), conflict)
    assert (code, statuses) == (1, [])
    assert "operations[1]" in err
    assert (await run(put("b", 1), conflict, each=True))[:2] == (1, [201, 412])
    for line in ("[1]", "nonsense", "1"):
        assert await run(get("a"), line) == (1, [], "swarm-memory: line 2 is not a JSON object\n")
    assert await asyncio.to_thread(command.main, ["batch", str(tmp_path / "missing"), *flags]) == 1


async def test_the_client_reads_many_at_once(service):
    await service.put("n/a", 1)
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as memory:
        found = await memory.get_many([("n", "a"), ("n", "never"), ("n", "a")])
        assert [entry and entry.value for entry in found] == [1, None, 1]


async def test_a_get_that_is_not_permitted_refuses_the_batch_before_its_writes(start_service, tmp_path):
    token = "team-0123456789abcdef"
    (tmp_path / "tokens").mkdir()
    holder = {"name": "team", "token": token, "access": "write", "namespaces": ["n"]}
    (tmp_path / "tokens" / "tokens.json").write_text(orjson.dumps({"tokens": [holder]}).decode())
    async with start_service() as service:
        foreign = {"op": "get", "namespace": "other", "key": "k"}
        for atomic in (True, False):
            body = {"operations": [put("a", 1), foreign], "atomic": atomic}
            assert (await service.call("POST", "/v1/batch", body, token=token)).status == 403
        assert (await service.store.stats()).entries == 0


async def damage(service, tmp_path, key):
    """Store a value, and damage it behind the service's back."""
    await service.put(f"n/{key}", "x" * 100_000)
    db = sqlite3.connect(tmp_path / "swarm-memory.db")
    (blob,) = db.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
    db.execute("UPDATE entries SET value = ? WHERE key = ?", (blob[:-1] + b"\xff", key))
    db.commit()
    db.close()


async def test_a_value_that_cannot_be_read_is_the_result_of_its_own_get(start_service, tmp_path):
    async with start_service(config=StoreConfig(cache_size=1)) as service:
        await damage(service, tmp_path, "bad")
        await service.put("n/good", 1)
        answer = await batch(service, put("a", 1), get("bad"), get("good"), get("never"))
        assert answer.status == 200
        results = answer.json["results"]
        assert [result["status"] for result in results] == [201, 503, 200, 404]
        assert results[1]["problem"]["type"] == "urn:swarm-memory:problem:corrupt-value"
        assert results[2]["entry"]["value"] == 1


async def test_the_gets_of_a_batch_have_the_bytes_of_a_page(start_service):
    async with start_service(config=StoreConfig(max_value_bytes=100_000)) as service:
        await service.put("n/large", "x" * 30_000)
        answer = await batch(service, put("a", 1), *(get("large") for _ in range(12)))
        results = answer.json["results"]
        assert [result["status"] for result in results] == [201] + [200] * 4 + [400] * 8
        assert results[-1]["problem"]["field"] == "operations"
