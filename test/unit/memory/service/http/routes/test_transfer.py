"""Export, import and cleaning up over HTTP and with the client."""

import asyncio
import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.memory.client import MemoryClient, MemoryRequestError, MemoryUnavailableError
from swarm_operator.memory.core import Draft, Put
from swarm_operator.memory.core.errors import StorageIOError
from swarm_operator.memory.service.http.routes import transfer
from swarm_operator.memory.transfer.importer import Importer

TOKEN = "client-0123456789abcdef"


def connect(service, **options):
    options = {"token_file": service.tokens / "client-token", **options}
    return MemoryClient(f"http://127.0.0.1:{service.port}", **options)


def line(key, value=1, namespace="n"):
    return orjson.dumps({"namespace": namespace, "key": key, "value": value}) + b"\n"


async def fill(service, entries=30, size=10):
    puts = [Put(Draft.create("swarm:x", f"k{number:05}", "x" * size)) for number in range(entries)]
    for start in range(0, entries, 500):
        await service.store.batch(puts[start : start + 500])


async def test_an_export_can_be_imported_again_and_changes_nothing(service):
    await fill(service, entries=2500, size=300)
    answer = await service.call("GET", "/v1/export")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    async with connect(service) as memory:
        lines = [line async for line in memory.swarm.export()]
        assert (len(lines), orjson.loads(lines[-1])) == (2502, {"end": True, "entries": 2500})
        assert all(orjson.loads(line) for line in lines)
        assert await memory.swarm.import_(lines) == {
            "lines": 2502, "created": 0, "updated": 0, "unchanged": 2500, "kept": 0, "expired": 0, "complete": True,
        }  # fmt: skip
        await service.store.delete_range("swarm:x", prefix="k000")
        imported = await memory.swarm.import_(memory.swarm.export())
        assert imported["unchanged"] == 2400
        assert (await memory.swarm.import_(lines))["created"] == 100


async def test_what_is_exported_can_be_chosen(service):
    await service.put("a/k", 1)
    await service.put("swarm:x/k", 1)
    async with connect(service) as memory:

        async def keys(**options):
            documents = [orjson.loads(line) async for line in memory.swarm.export(**options)]
            return [document["namespace"] for document in documents[1:-1]]

        assert await keys() == ["swarm:x"]
        assert await keys(everything=True) == ["a", "swarm:x"]
        assert await keys(namespaces=["a", "none"]) == ["a"]


async def test_each_line_is_reported_when_that_is_asked_for(service):
    await service.put("n/b", 2)
    body = line("a") + b"\n" + line("b") + line("a")
    answer = await service.call("POST", "/v1/import?report=lines&existing=keep", body)
    assert [orjson.loads(each) for each in answer.body.splitlines() if each.startswith(b'{"l')] == [
        {"line": 1, "outcome": "created"}, {"line": 3, "outcome": "kept"}, {"line": 4, "outcome": "unchanged"},
        {"lines": 4, "created": 1, "updated": 0, "unchanged": 1, "kept": 1, "expired": 0, "complete": False},
    ]  # fmt: skip


async def test_a_bad_line_is_a_400_with_its_number_and_what_was_written_before(service):
    body = b"".join(line(f"k{number}") for number in range(250)) + b'{"namespace":"n"}\n' + line("after")
    answer = await service.call("POST", "/v1/import", body)
    assert (answer.status, answer.json["line"], answer.json["field"]) == (400, 251, "value")
    assert answer.json["detail"] == "line 251: value: required, a JSON value"
    assert answer.json["imported"]["created"] == 200
    assert (await service.store.stats()).entries == 200
    async with connect(service) as memory:
        with pytest.raises(MemoryRequestError) as caught:
            await memory.swarm.import_([line("k1"), b"{}\n"] + [line("x", "y" * 1000)] * 3000)
        assert caught.value.problem["line"] == 2


async def test_a_line_may_be_as_long_as_its_value_and_no_longer(start_service, clock):
    from swarm_operator.memory.sqlite import StoreConfig

    async with start_service(clock=clock, config=StoreConfig(max_value_bytes=1000)) as service:
        answer = await service.call("POST", "/v1/import", line("a", "x" * 1001))
        assert (answer.status, answer.json["field"]) == (400, "value")
        answer = await service.call("POST", "/v1/import", line("a") + b"x" * 3_000_000)
        assert (answer.status, answer.json["line"], answer.json["field"]) == (400, 2, "line")


async def test_an_import_may_be_longer_than_any_other_body(start_service, clock):
    async with start_service(clock=clock, max_body_bytes=10_000) as service, connect(service) as memory:
        done = await memory.swarm.import_(line(f"k{number}", "x" * 1000) for number in range(1000))
        assert done["created"] == 1000


@pytest.mark.parametrize(
    ("method", "path", "status", "field"),
    [
        ("GET", "/v1/export?all=yes", 400, "all"),
        ("GET", "/v1/export?all=true&namespace=n", 400, "all"),
        ("GET", "/v1/export?namespace=", 400, "namespace"),
        ("GET", "/v1/export?format=csv", 400, "query parameter 'format'"),
        ("POST", "/v1/export", 405, None),
        ("GET", "/v1/import", 405, None),
        ("POST", "/v1/import?existing=merge", 400, "existing"),
        ("POST", "/v1/import?report=all", 400, "report"),
        ("POST", "/v1/import", 200, None),
        ("POST", "/admin/cleanup?max_age=-1", 400, "max_age"),
        ("POST", "/admin/cleanup?max_age=week", 400, "max_age"),
        ("POST", "/admin/cleanup?dry_run=1", 400, "dry_run"),
        ("GET", "/admin/cleanup", 405, None),
        ("GET", "/v1/swarm?x=1", 400, "query parameter 'x'"),
    ],
)
async def test_bad_requests_are_named(service, method, path, status, field):
    token = "admin-0123456789abcdef"
    answer = await service.call(method, path, b"" if method == "POST" else None, token=token)
    assert (answer.status, answer.json.get("field")) == (status, field)
    assert (await service.call(method, path, token=None)).status == 401


async def test_an_export_that_fails_half_way_is_cut_off_and_the_client_says_so(service, monkeypatch):
    await fill(service, entries=2500, size=300)
    page = service.store.list
    calls = 0

    async def failing(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls > 5:
            raise StorageIOError("disk I/O error")
        return await page(*arguments, **options)

    monkeypatch.setattr(service.store, "list", failing)
    async with connect(service) as memory:
        seen = []

        async def read():
            async for each in memory.swarm.export():
                seen.append(each)  # noqa: PERF401 - a comprehension would lose what came before the error

        with pytest.raises(MemoryUnavailableError):
            await read()
        assert len(seen) > 1
        assert b'"end"' not in seen[-1]


async def test_exports_and_imports_at_once_are_bounded_and_a_client_that_hangs_up_frees_its_place(service):
    async def until(refused):
        """Ask until it is so; each request gives the service the time to see what has come and gone."""
        while True:
            answer = await service.call("POST", "/v1/import", b"")
            if (answer.status == 429) == refused:
                return answer

    head = f"POST /v1/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n\n"
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            stack.callback(writer.close)
            writer.write(head.encode())
            await writer.drain()
        assert (await until(refused=True)).headers["retry-after"] == "1"
    assert (await until(refused=False)).status == 200


async def test_cleaning_up_takes_the_admin_token_and_counts(service, clock):
    async with connect(service) as memory, connect(service, token_file=service.tokens / "admin-token") as admin:
        await memory.tasks.create(id="t1")
        await memory.tasks.complete("t1")
        clock.advance(7 * 86_400)
        assert (await service.call("POST", "/admin/cleanup")).status == 403
        assert (await admin.swarm.cleanup(dry_run=True))["tasks"] == 1
        assert (await memory.swarm.stats())["tasks"]["completed"] == 1
        assert (await admin.swarm.cleanup(max_age=7.5 * 86_400))["total"] == 0
        done = await admin.swarm.cleanup()
        assert (done["tasks"], done["total"], done["dry_run"]) == (1, 1, False)
        assert (await memory.swarm.stats())["tasks"]["total"] == 0


async def test_a_token_that_was_replaced_is_read_again_before_a_stream_is_sent(service):
    async with connect(service) as memory:
        await memory.swarm.stats()
        memory._transport._token = "an-old-one"
        assert (await memory.swarm.import_([line("a")]))["created"] == 1
        memory._transport._token = "an-old-one"
        assert len([each async for each in memory.swarm.export()]) == 2


async def test_an_import_of_empty_lines_counts_them_and_lets_others_run(service, monkeypatch):
    monkeypatch.setattr(transfer, "_TURN", 0)
    turns = 0

    async def take_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    answer = await service.call("POST", "/v1/import", b"\n" * 5000 + line("k"))
    other.cancel()
    assert (answer.status, answer.json["lines"]) == (200, 5001)
    assert turns > 5000


PARTS = st.lists(st.sampled_from([b"\n", b" ", b"\r\n", b"{}", b"x\n", b"\n \n\n", b"\t"]), max_size=30)


@given(st.lists(PARTS.map(b"".join), max_size=8))
def test_lines_are_the_same_however_they_come(chunks):
    async def lines():
        async def body():
            for chunk in chunks:
                yield chunk

        found = []
        async for line in transfer._lines(body(), 1000):
            found += [b""] * line if isinstance(line, int) else [line.strip()]
        return found

    expected = [line.strip() for line in b"".join(chunks).split(b"\n")]
    found = asyncio.run(lines())
    assert found == (expected if len(found) == len(expected) else expected[:-1])
    assert len(found) == len(expected) or not expected[-1]


async def test_empty_lines_count_and_are_skipped_together(service, monkeypatch):
    added = []
    add = Importer.add
    monkeypatch.setattr(Importer, "add", lambda importer, line: added.append(line) or add(importer, line))
    body = b"\n" * 2_000_000 + b'{"namespace": "n", "key": "k", "value": 1}\n' + b" \r\n" * 100_000
    answer = await service.call("POST", "/v1/import", body)
    assert (answer.json["lines"], answer.json["created"]) == (2_100_001, 1)
    assert len(added) < 1_000_000
    answer = await service.call("POST", "/v1/import", b"\n" * 100_000 + b"nothing")
    assert (answer.status, answer.json["line"]) == (400, 100_001)
