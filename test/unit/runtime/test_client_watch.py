"""Watches of the client."""

import asyncio
import contextlib
import json
import os
import socket

import pytest
from unit.runtime.conftest import events_of

from swarm_operator.runtime import errors
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.kubernetes_asyncio import Configuration
from swarm_operator.runtime.serving_cert import ServingCertificate


async def test_it_asks_for_bookmarks_and_an_end(server, client, widgets):
    server.then(server.stream())
    assert await events_of(client, widgets, namespace="ns", label_selector="x=y") == []
    (asked,) = server.asked
    assert asked.path == "/apis/example.com/v1/namespaces/ns/widgets"
    assert asked.query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "labelSelector": "x=y",
        "resourceVersion": "1",
        "timeoutSeconds": "300",
    }


async def test_events_come_one_by_one_whatever_pieces_they_arrive_in(server, client, widgets, widget):
    events = [{"type": "ADDED", "object": widget("ä", number)} for number in range(3)]
    text = b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events)
    server.then(server.stream(*(text[i : i + 7] for i in range(0, len(text), 7))), server.stream(b"\n" + text))
    assert await events_of(client, widgets) == events
    assert await events_of(client, widgets) == events


async def test_events_come_while_the_stream_is_open(server, client, widgets):
    server.then(server.stream({"type": "BOOKMARK"}, hold=True))
    async with client.watch(widgets, resource_version="1", timeout_seconds=300, idle_seconds=5.0) as stream:
        assert await anext(stream) == {"type": "BOOKMARK"}


async def test_leaving_it_closes_the_connection_without_waiting_for_the_server(widgets):
    """A TLS shutdown would keep the connection open until the server answers it, at most 30 s."""
    context = ServingCertificate().context

    def serve_until_closed(listener):
        plain, _ = listener.accept()
        plain.settimeout(60)
        with context.wrap_socket(plain, server_side=True) as tls, socket.socket(fileno=os.dup(tls.fileno())) as raw:
            tls.recv(65536)
            tls.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b'15\r\n{"type": "BOOKMARK"}\n\r\n')
            raw.settimeout(60)
            # Read past TLS, so that a TLS shutdown is never answered.
            with contextlib.suppress(ConnectionResetError):
                while raw.recv(65536):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        serving = asyncio.ensure_future(asyncio.to_thread(serve_until_closed, listener))
        configuration = Configuration()
        configuration.host = f"https://127.0.0.1:{listener.getsockname()[1]}"
        configuration.verify_ssl = False
        async with Client(configuration) as client:
            async with client.watch(widgets, resource_version="1", timeout_seconds=300, idle_seconds=30.0) as stream:
                assert await anext(stream) == {"type": "BOOKMARK"}
            await serving


async def test_others_have_their_turn_while_much_that_has_come_is_decoded(
    server, client, widgets, background, monkeypatch
):
    monkeypatch.setattr("swarm_operator.runtime.client._TURN", -1.0)  # at once
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    server.then(server.stream(*({"type": "BOOKMARK"} for _ in range(500))))
    background(others())
    async with client.watch(widgets, resource_version="1", timeout_seconds=300, idle_seconds=5.0) as stream:
        await anext(stream)  # all of it is here by now
        before = turns
        for _ in range(499):
            await anext(stream)
    assert turns - before >= 499


async def test_a_line_of_more_than_4_mib_is_read(server, client, widgets):
    event = {"type": "ADDED", "object": {"blob": "x" * 2**22}}
    server.then(server.stream(event))
    assert await events_of(client, widgets) == [event]


@pytest.mark.parametrize(("code", "kind"), [(410, errors.GoneError), (429, errors.TooManyRequestsError)])
async def test_a_refusal_is_a_typed_error(server, client, widgets, code, kind):
    retry_after = {"Retry-After": "3"}
    server.then(server.status(code, **retry_after))
    with pytest.raises(kind) as caught:
        await events_of(client, widgets)
    assert caught.value.retry_after == 3.0


async def test_a_refusal_that_is_cut_short_is_known_by_its_code(server, client, widgets):
    server.then(server.cut_short(500))
    with pytest.raises(errors.ServerError, match="HTTP 500"):
        await events_of(client, widgets)


@pytest.mark.parametrize("line", [b'{"type": "ADD\n', b"<html>\n", b"\xff\n"])
async def test_a_line_that_is_no_json_ends_it(server, client, widgets, line):
    server.then(server.stream({"type": "BOOKMARK"}, line, hold=True))
    with pytest.raises(errors.UnreachableError):
        await events_of(client, widgets)


async def test_half_a_line_at_the_end_is_dropped(server, client, widgets):
    server.then(server.stream({"type": "BOOKMARK"}, b'{"type": "ADDED", "obj'))
    assert await events_of(client, widgets) == [{"type": "BOOKMARK"}]


async def test_a_reset_is_no_answer(server, client, widgets):
    server.then(server.stream({"type": "BOOKMARK"}, reset=True))
    with pytest.raises(errors.UnreachableError):
        await events_of(client, widgets)


async def test_silence_is_taken_for_a_dead_connection(server, client, widgets):
    server.then(server.stream({"type": "BOOKMARK"}, hold=True))
    with pytest.raises(errors.UnreachableError, match="watch ended after"):
        await events_of(client, widgets, idle_seconds=0.05)


async def test_few_are_opened_at_one_time_and_any_number_stays_open(server, client, widgets, background):
    """Otherwise those of hundreds of namespaces would keep each other waiting until all time out."""
    over, opened = asyncio.Event(), asyncio.Semaphore(0)

    async def watch():
        async with client.watch(widgets, resource_version="1", timeout_seconds=300, idle_seconds=60.0):
            opened.release()
            await over.wait()

    release = asyncio.Event()

    async def late(request):
        await release.wait()
        return await server.stream(hold=True)(request)

    server.then(*[late] * 32, server.json({}), *[server.stream(hold=True)] * 28)
    watches = [background(watch()) for _ in range(60)]
    await server.wait_asked(32)
    await client.get(widgets, "ns", "a")
    assert len(server.asked) == 33, "a request goes before the watches that wait"
    release.set()
    for _ in watches:
        await asyncio.wait_for(opened.acquire(), 30)
    over.set()
    await asyncio.wait(watches)


async def test_leaving_it_closes_the_connection(server, client, widgets):
    server.then(server.stream({"type": "BOOKMARK"}, hold=True))
    async with client.watch(widgets, resource_version="1", timeout_seconds=300, idle_seconds=5.0) as stream:
        await anext(stream)
        connector = client._transport._rest.pool_manager.connector
        assert connector._acquired
    assert not connector._acquired
