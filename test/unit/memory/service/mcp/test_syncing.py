"""memory_sync: two services are brought together."""

import asyncio
import contextlib
import json

import pytest
from unit.memory.conftest import FakeClock, running_service

from swarm_operator.memory.client import MemoryClient

TOKEN, ADMIN = "client-0123456789abcdef", "admin-0123456789abcdef"


@pytest.fixture
async def east(tmp_path, clock):
    (tmp_path / "east").mkdir()
    async with running_service(tmp_path / "east", clock=clock) as running:
        yield running


def know(service, *peers):
    (service.tokens / "peers.json").write_text(json.dumps({"peers": list(peers)}))


def peer(service, token=TOKEN, name="east"):
    return {"name": name, "url": f"http://127.0.0.1:{service.port}/", "token": token}


async def contents(service):
    found = {}
    for count in (await service.store.namespaces()).namespaces:
        for entry in (await service.store.list(count.namespace, limit=1000)).entries:
            found[entry.namespace, entry.key] = (entry.value, entry.tags, entry.metadata, entry.expires_at)
    return found


async def test_two_memories_become_the_same(admin, service, east, clock):
    know(service, peer(east))
    for number in range(150):
        await service.store.put("here", f"k{number}", number, tags=["t"])
    await east.store.put("ä/b", "ü", ["x" * 50_000], metadata={"m": 1}, ttl=60)
    await service.store.put("n", "k", "older here")
    await east.store.put("n", "j", "older there")
    clock.advance(1)
    await east.store.put("n", "k", "newer there")
    await service.store.put("n", "j", "newer here")
    assert await admin.call("memory_sync", target="east") == {
        "target": "east",
        "pulled": {"created": 1, "updated": 1, "unchanged": 0, "kept": 1},
        "pushed": {"created": 150, "updated": 1, "unchanged": 2, "kept": 0},
    }
    both = await contents(service)
    assert both == await contents(east)
    assert (both["n", "k"][0], both["n", "j"][0], len(both)) == ("newer there", "newer here", 153)
    again = await admin.call("memory_sync", target="east")
    assert again["pulled"] == again["pushed"] == {"created": 0, "updated": 0, "unchanged": 153, "kept": 0}


async def test_it_takes_the_admin_token_and_a_peer_that_is_known(mcp, admin, service, east):
    know(service, peer(east), peer(east, name="west"))
    assert (await mcp.fail("memory_sync", target="east"))["code"] == "forbidden"
    error = await admin.fail("memory_sync", target="http://elsewhere")
    assert (error["code"], error["field"], error["allowed"]) == ("invalid-input", "target", "one of east, west")
    (service.tokens / "peers.json").unlink()
    assert "which has none" in (await admin.fail("memory_sync", target="east"))["allowed"]


@pytest.mark.parametrize(("text", "place"), [
    ("{", "peers.json: JSON"),
    ("[]", 'peers.json: an object with the member "peers"'),
    ('{"peers": [], "more": 1}', "peers.json: an object"),
    ('{"peers": [1]}', "peers[0]: an object"),
    ('{"peers": [{"name": "e", "url": "http://h"}]}', "peers[0]: an object"),
    ('{"peers": [{"name": "E", "url": "http://h", "token": "secret"}]}', "peers[0].name"),
    ('{"peers": [{"name": "e", "url": "file:///etc/passwd", "token": "secret"}]}', "peers[0].url"),
    ('{"peers": [{"name": "e", "url": "http://user@h", "token": "secret"}]}', "peers[0].url"),
    ('{"peers": [{"name": "e", "url": "http://h", "token": "sec ret"}]}', "peers[0].token"),
    ('{"peers": [{"name": "e", "url": "http://h", "token": 1}]}', "peers[0].token"),
    (json.dumps({"peers": [{"name": "e", "url": "http://h", "token": "t"}] * 2}), "peers[1].name"),
    (json.dumps({"peers": [{"name": f"e{number}", "url": "http://h", "token": "t"} for number in range(21)]}), "20"),
    (" " * 65_537, "65536"),
])  # fmt: skip
async def test_a_mistake_in_the_file_is_named_by_its_place_and_not_quoted(admin, service, text, place):
    (service.tokens / "peers.json").write_text(text)
    error = await admin.fail("memory_sync", target="e")
    assert (error["code"], error["field"]) == ("invalid-input", "target")
    assert place in error["allowed"]
    assert "secret" not in str(error)
    assert "sec ret" not in str(error)


async def test_a_peer_that_refuses_or_is_not_there_is_an_error_and_nothing_is_lost(admin, service, east, monkeypatch):
    monkeypatch.setitem(MemoryClient.__init__.__kwdefaults__, "retry_for", 0.1)
    await service.store.put("n", "k", 1)
    know(service, peer(east, token="wrong"), {"name": "away", "url": "http://127.0.0.1:9", "token": TOKEN})
    refused = await admin.fail("memory_sync", target="east")
    assert (refused["code"], refused["retry"]) == ("peer", False)
    assert "401" in refused["message"]
    away = await admin.fail("memory_sync", target="away")
    assert (away["code"], away["retry"]) == ("peer", True)
    assert await contents(service) == {("n", "k"): (1, [], {}, None)}
    assert await contents(east) == {}
    assert TOKEN not in str(away)


async def test_one_at_a_time_and_a_silent_peer_is_given_up(admin, service, monkeypatch):
    connected = asyncio.Event()

    async def silent(reader, writer):
        connected.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        know(service, {"name": "silent", "url": f"http://127.0.0.1:{port}", "token": TOKEN})
        monkeypatch.setattr("swarm_operator.memory.service.peers._MOST_SECONDS", 1.0)
        first = asyncio.create_task(admin.fail("memory_sync", target="silent"))
        await connected.wait()
        assert (await admin.fail("memory_sync", target="silent"))["code"] == "overloaded"
        late = await first
        assert (late["code"], late["retry"]) == ("peer", True)
        assert "longer than 1 seconds" in late["message"]


async def test_clocks_that_differ_decide_who_is_newer_and_nothing_is_lost(admin, service, tmp_path):
    slow = FakeClock()
    slow.advance(-3600)
    (tmp_path / "slow").mkdir()
    async with running_service(tmp_path / "slow", clock=slow) as other:
        know(service, peer(other))
        await service.store.put("n", "both", "fast")
        await other.store.put("n", "both", "slow")
        await other.store.put("n", "only", 1)
        done = await admin.call("memory_sync", target="east")
        assert (done["pulled"]["kept"], done["pushed"]["updated"]) == (1, 1)
        assert await contents(service) == await contents(other)
