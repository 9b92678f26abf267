import asyncio
import contextlib
import json
import os
import socket

import pytest
from kubernetes_asyncio.config.incluster_config import InClusterConfigLoader

from swarm_operator.runtime import errors
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.credentials import of_token_file
from swarm_operator.runtime.kubernetes_asyncio import Configuration
from swarm_operator.runtime.serving_cert import ServingCertificate


async def events_of(client, widgets, *, idle_seconds=5.0, **options):
    """All events of one watch, until it ends."""
    async with client.watch(
        widgets, resource_version="1", timeout_seconds=300, idle_seconds=idle_seconds, **options
    ) as stream:
        return [event async for event in stream]


async def test_get_reads_one_object(server, client, widgets, widget):
    server.then(server.json(widget("a", 7)))
    assert await client.get(widgets, "ns", "a") == widget("a", 7)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/apis/example.com/v1/namespaces/ns/widgets/a")
    assert asked.headers["User-Agent"] == "swarm-operator"
    assert asked.headers["Accept"] == "application/json"


async def test_a_list_from_the_server_s_cache_is_one_page(server, client, widgets, widget):
    server.then(server.listing(widget("a"), version="42"))
    objects, version = await client.list(widgets, namespace="ns", label_selector="x=y", resource_version="0")
    assert (objects, version) == ([widget("a")], "42")
    assert server.asked[0].path == "/apis/example.com/v1/namespaces/ns/widgets"
    assert server.asked[0].query == {"labelSelector": "x=y", "resourceVersion": "0"}


async def test_a_list_from_etcd_follows_the_pages(server, client, widgets, widget):
    server.then(
        server.listing(widget("a"), version="42", following="t1"),
        server.listing(widget("b"), version="42", following="t2"),
        server.listing(widget("c"), version="42"),
    )
    objects, version = await client.list(widgets, label_selector="x=y", field_selector="a.b=c")
    assert [obj["metadata"]["name"] for obj in objects] == ["a", "b", "c"]
    assert version == "42"
    assert [asked.query for asked in server.asked] == [
        {"labelSelector": "x=y", "fieldSelector": "a.b=c", "limit": "500"},
        {"labelSelector": "x=y", "fieldSelector": "a.b=c", "limit": "500", "continue": "t1"},
        {"labelSelector": "x=y", "fieldSelector": "a.b=c", "limit": "500", "continue": "t2"},
    ]


async def test_a_continue_token_that_is_too_old_is_gone(server, client, widgets, widget):
    server.then(server.listing(widget("a"), following="t1"), server.status(410, "Expired"))
    with pytest.raises(errors.GoneError):
        await client.list(widgets)


async def test_items_of_a_list_get_the_kind_that_they_lack(server, client, widgets):
    server.then(server.listing({"metadata": {"name": "a"}}))
    (obj,), _ = await client.list(widgets)
    assert (obj["apiVersion"], obj["kind"]) == ("example.com/v1", "Widget")


async def test_an_empty_list_may_have_null_items(server, client, widgets):
    server.then(server.json({"metadata": {"resourceVersion": "3"}, "items": None}))
    assert await client.list(widgets) == ([], "3")


async def test_create_posts_under_the_field_manager_s_name(server, client, widgets, widget):
    server.then(server.json(widget("a", 8), 201))
    assert await client.create(widgets, widget("a"), field_manager="me") == widget("a", 8)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/apis/example.com/v1/namespaces/ns/widgets")
    assert asked.query == {"fieldManager": "me"}
    assert asked.body == widget("a")


async def test_update_replaces_an_object(server, client, widgets, widget):
    server.then(server.json(widget("a", 8)))
    assert await client.update(widgets, widget("a", 7), field_manager="me") == widget("a", 8)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PUT", "/apis/example.com/v1/namespaces/ns/widgets/a")
    assert asked.query == {"fieldManager": "me"}
    assert asked.body == widget("a", 7)


async def test_a_process_that_may_not_write_reads_and_sends_no_write(server, widgets, widget):
    configuration = Configuration()
    configuration.host = server.url
    server.then(server.json(widget()))
    async with Client(configuration, may_write=lambda: False) as client:
        await client.get(widgets, "ns", "a")
        for write in (
            client.create(widgets, widget(), field_manager="me"),
            client.update(widgets, widget(), field_manager="me"),
            client.apply(widgets, widget(), field_manager="me"),
            client.merge(widgets, "ns", "a", {}, field_manager="me"),
            client.delete(widgets, "ns", "a", uid="u"),
        ):
            with pytest.raises(errors.FencedError):
                await write
    assert len(server.asked) == 1


async def test_a_write_whose_turn_comes_too_late_is_not_sent(server, widgets, widget):
    """A leader that waited for its turn may have lost the lease meanwhile."""
    configuration = Configuration()
    configuration.host = server.url
    leads, answered = True, asyncio.Event()

    async def slowly(request):
        await answered.wait()
        return await server.json(widget())(request)

    server.then(slowly)
    async with Client(configuration, max_requests=1, may_write=lambda: leads) as client:
        first = asyncio.create_task(client.get(widgets, "ns", "a"))
        await server.wait_asked(1)
        second = asyncio.create_task(client.delete(widgets, "ns", "a", uid="u"))
        await asyncio.sleep(0)
        leads = False
        answered.set()
        await first
        with pytest.raises(errors.FencedError):
            await second
    assert len(server.asked) == 1


async def test_a_request_waits_for_its_turn_no_longer_than_for_an_answer(server, widgets):
    configuration = Configuration()
    configuration.host = server.url
    async with Client(configuration, max_requests=1, timeout=0.3) as client:
        for _ in range(2):
            with pytest.raises(errors.UnreachableError):
                await asyncio.gather(client.get(widgets, "ns", "a"), client.get(widgets, "ns", "b"))


async def test_watches_take_no_turn_from_requests(server, widgets, widget):
    configuration = Configuration()
    configuration.host = server.url
    async with Client(configuration, max_requests=1, timeout=60.0) as client, contextlib.AsyncExitStack() as stack:
        for _ in range(150):
            server.then(server.stream({"type": "BOOKMARK"}, hold=True))
            watch = client.watch(widgets, resource_version="1", timeout_seconds=300, idle_seconds=60.0)
            await anext(await stack.enter_async_context(watch))
        server.then(server.json(widget()))
        assert await client.get(widgets, "ns", "a") == widget()


@pytest.mark.parametrize("force", [True, False])
async def test_apply_is_a_server_side_apply(server, client, widgets, widget, force):
    server.then(server.json(widget("a", 8)))
    await client.apply(widgets, widget("a"), field_manager="me", subresource="status", force=force)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", "/apis/example.com/v1/namespaces/ns/widgets/a/status")
    assert asked.query == {"fieldManager": "me", "force": str(force).lower()}
    assert asked.headers["Content-Type"] == "application/apply-patch+yaml"
    assert asked.body == widget("a")


async def test_merge_sends_a_merge_patch(server, client, widgets, widget):
    server.then(server.json(widget("a", 8)))
    await client.merge(widgets, "ns", "a", {"x": None}, field_manager="me")
    (asked,) = server.asked
    assert (asked.method, asked.headers["Content-Type"]) == ("PATCH", "application/merge-patch+json")
    assert asked.body == {"x": None}


async def test_delete_is_for_one_uid_only(server, client, widgets):
    server.then(server.status(200))
    await client.delete(widgets, "ns", "a", uid="u")
    (asked,) = server.asked
    assert asked.method == "DELETE"
    assert asked.body["preconditions"] == {"uid": "u"}
    assert asked.body["propagationPolicy"] == "Background"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(404, errors.NotFoundError), (409, errors.ConflictError), (422, errors.InvalidError), (500, errors.ServerError)],
)
async def test_a_refusal_is_a_typed_error_with_what_the_server_said(server, client, widgets, code, kind):
    server.then(server.status(code, "Because", "it is so"))
    with pytest.raises(kind) as caught:
        await client.get(widgets, "ns", "a")
    assert (caught.value.status, caught.value.reason, caught.value.message) == (code, "Because", "it is so")


async def test_a_refusal_that_is_no_status_is_quoted(server, client, widgets):
    server.then(server.text("<html>bad gateway</html>", 502), server.json(["odd"], 503))
    with pytest.raises(errors.ServerError, match="HTTP 502: <html>bad gateway"):
        await client.get(widgets, "ns", "a")
    with pytest.raises(errors.ServerError, match="HTTP 503"):
        await client.get(widgets, "ns", "a")


async def test_the_server_s_wish_to_wait_is_in_the_error(server, client, widgets):
    retry_after = {"Retry-After": "3"}
    server.then(server.status(429, "TooManyRequests", **retry_after))
    with pytest.raises(errors.TooManyRequestsError) as caught:
        await client.get(widgets, "ns", "a")
    assert caught.value.retry_after == 3.0


async def test_a_date_to_wait_for_is_ignored(server, client, widgets):
    retry_after = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    server.then(server.status(503, **retry_after))
    with pytest.raises(errors.ServerError) as caught:
        await client.get(widgets, "ns", "a")
    assert caught.value.retry_after is None


async def test_a_broken_connection_is_no_answer(server, client, widgets):
    server.then(server.reset())
    with pytest.raises(errors.UnreachableError):
        await client.create(widgets, {"metadata": {"name": "a"}}, field_manager="me")


async def test_an_answer_that_is_cut_short_is_no_answer(server, client, widgets):
    server.then(server.cut_short())
    with pytest.raises(errors.UnreachableError):
        await client.get(widgets, "ns", "a")


async def test_a_refusal_that_is_cut_short_is_known_by_its_code(server, client, widgets):
    server.then(server.cut_short(500))
    with pytest.raises(errors.ServerError, match="HTTP 500"):
        await client.get(widgets, "ns", "a")


@pytest.mark.parametrize("text", ["<html>sign in</html>", '{"metadata": {', "\xff", '"text"', "[]", "null"])
async def test_an_answer_that_is_no_object_is_no_answer(server, client, widgets, text):
    server.then(server.text(text))
    with pytest.raises(errors.UnreachableError):
        await client.get(widgets, "ns", "a")


@pytest.mark.parametrize("text", ["{}", "", '{"items": []}'])
async def test_a_list_without_a_version_is_no_answer(server, client, widgets, text):
    server.then(server.text(text))
    with pytest.raises(errors.UnreachableError):
        await client.list(widgets)


async def test_a_server_that_is_not_there_is_no_answer(widgets, unused_tcp_port):
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{unused_tcp_port}"
    async with Client(configuration) as client:
        with pytest.raises(errors.UnreachableError):
            await client.get(widgets, "ns", "a")


async def test_a_server_that_never_answers_is_given_up(server, widgets):
    configuration = Configuration()
    configuration.host = server.url
    async with Client(configuration, timeout=0.05) as client:
        with pytest.raises(errors.UnreachableError):
            await client.get(widgets, "ns", "a")


async def test_a_cancelled_request_is_cancelled_and_not_an_error(server, client, widgets):
    task = asyncio.ensure_future(client.get(widgets, "ns", "a"))
    await server.wait_asked(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_requests_are_counted_by_code_method_and_host(server, client, widgets, widget, sample):
    host = server.url.removeprefix("http://")
    server.then(server.json(widget()), server.status(404), server.reset())
    await client.get(widgets, "ns", "a")
    with pytest.raises(errors.NotFoundError):
        await client.get(widgets, "ns", "a")
    with pytest.raises(errors.UnreachableError):
        await client.create(widgets, widget(), field_manager="me")
    for code, method in (("200", "GET"), ("404", "GET"), ("<error>", "POST")):
        assert sample("rest_client_requests_total", code=code, method=method, host=host) == 1


class TestToken:
    """A pod's service account, whose token file is renewed by the kubelet."""

    @pytest.fixture
    def token_file(self, tmp_path):
        path = tmp_path / "token"
        path.write_text("first")
        return path

    @pytest.fixture
    async def client(self, server, token_file, tmp_path):
        (tmp_path / "ca.crt").write_text("not read by this test")
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        configuration = Configuration()
        InClusterConfigLoader(
            str(token_file), str(tmp_path / "ca.crt"), try_refresh_token=False, environ=environ
        ).load_and_set(configuration)
        configuration.refresh_api_key_hook = of_token_file(token_file)
        configuration.host, configuration.ssl_ca_cert = server.url, None
        async with Client(configuration) as client:
            yield client

    async def test_every_request_carries_it(self, server, client, widgets, widget):
        server.then(server.json(widget()))
        await client.get(widgets, "ns", "a")
        assert server.asked[0].headers["Authorization"] == "Bearer first"

    async def test_a_401_reads_it_again_and_tries_once_more(self, server, client, widgets, widget, token_file):
        server.then(server.status(401, "Unauthorized"), server.json(widget()))
        token_file.write_text("second")
        assert await client.get(widgets, "ns", "a") == widget()
        assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first", "Bearer second"]

    async def test_a_watch_does_so_too(self, server, client, widgets, token_file):
        server.then(server.status(401), server.stream({"type": "BOOKMARK"}))
        token_file.write_text("second")
        assert await events_of(client, widgets) == [{"type": "BOOKMARK"}]
        assert server.asked[1].headers["Authorization"] == "Bearer second"

    async def test_a_second_401_is_an_error(self, server, client, widgets):
        server.then(server.status(401), server.status(401, message="who are you"))
        with pytest.raises(errors.UnauthorizedError, match="who are you"):
            await client.get(widgets, "ns", "a")
        assert len(server.asked) == 2

    async def test_without_a_way_to_renew_it_it_is_tried_once_more_as_it_is(self, server, client, widgets, widget):
        client._tokens = None
        server.then(server.status(401), server.json(widget()))
        assert await client.get(widgets, "ns", "a") == widget()
        assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first"] * 2

    @pytest.mark.parametrize("fault", ["missing", "empty"])
    async def test_a_file_that_cannot_be_read_is_no_answer(self, server, client, widgets, token_file, fault):
        server.then(server.status(401), server.status(401))
        if fault == "missing":
            token_file.unlink()
        else:
            token_file.write_text("")
        with pytest.raises(errors.UnreachableError):
            await client.get(widgets, "ns", "a")
        with pytest.raises(errors.UnreachableError):
            await events_of(client, widgets)


class TestWatch:
    async def test_it_asks_for_bookmarks_and_an_end(self, server, client, widgets):
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

    async def test_events_come_one_by_one_whatever_pieces_they_arrive_in(self, server, client, widgets, widget):
        events = [{"type": "ADDED", "object": widget("ä", number)} for number in range(3)]
        text = b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events)
        server.then(server.stream(*(text[i : i + 7] for i in range(0, len(text), 7))), server.stream(b"\n" + text))
        assert await events_of(client, widgets) == events
        assert await events_of(client, widgets) == events

    async def test_events_come_while_the_stream_is_open(self, server, client, widgets):
        server.then(server.stream({"type": "BOOKMARK"}, hold=True))
        async with client.watch(widgets, resource_version="1", timeout_seconds=300, idle_seconds=5.0) as stream:
            assert await anext(stream) == {"type": "BOOKMARK"}

    async def test_leaving_it_closes_the_connection_without_waiting_for_the_server(self, widgets):
        """A TLS shutdown would keep the connection open until the server answers it, at most 30 s."""
        context = ServingCertificate().context

        def serve_until_closed(listener):
            plain, _ = listener.accept()
            plain.settimeout(60)
            with context.wrap_socket(plain, server_side=True) as tls, socket.socket(fileno=os.dup(tls.fileno())) as raw:
                tls.recv(65536)
                tls.sendall(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b'15\r\n{"type": "BOOKMARK"}\n\r\n'
                )
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
                async with client.watch(
                    widgets, resource_version="1", timeout_seconds=300, idle_seconds=30.0
                ) as stream:
                    assert await anext(stream) == {"type": "BOOKMARK"}
                await serving

    async def test_others_have_their_turn_while_much_that_has_come_is_decoded(
        self, server, client, widgets, background, monkeypatch
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

    async def test_a_line_of_more_than_4_mib_is_read(self, server, client, widgets):
        event = {"type": "ADDED", "object": {"blob": "x" * 2**22}}
        server.then(server.stream(event))
        assert await events_of(client, widgets) == [event]

    @pytest.mark.parametrize(("code", "kind"), [(410, errors.GoneError), (429, errors.TooManyRequestsError)])
    async def test_a_refusal_is_a_typed_error(self, server, client, widgets, code, kind):
        retry_after = {"Retry-After": "3"}
        server.then(server.status(code, **retry_after))
        with pytest.raises(kind) as caught:
            await events_of(client, widgets)
        assert caught.value.retry_after == 3.0

    async def test_a_refusal_that_is_cut_short_is_known_by_its_code(self, server, client, widgets):
        server.then(server.cut_short(500))
        with pytest.raises(errors.ServerError, match="HTTP 500"):
            await events_of(client, widgets)

    @pytest.mark.parametrize("line", [b'{"type": "ADD\n', b"<html>\n", b"\xff\n"])
    async def test_a_line_that_is_no_json_ends_it(self, server, client, widgets, line):
        server.then(server.stream({"type": "BOOKMARK"}, line, hold=True))
        with pytest.raises(errors.UnreachableError):
            await events_of(client, widgets)

    async def test_half_a_line_at_the_end_is_dropped(self, server, client, widgets):
        server.then(server.stream({"type": "BOOKMARK"}, b'{"type": "ADDED", "obj'))
        assert await events_of(client, widgets) == [{"type": "BOOKMARK"}]

    async def test_a_reset_is_no_answer(self, server, client, widgets):
        server.then(server.stream({"type": "BOOKMARK"}, reset=True))
        with pytest.raises(errors.UnreachableError):
            await events_of(client, widgets)

    async def test_silence_is_taken_for_a_dead_connection(self, server, client, widgets):
        server.then(server.stream({"type": "BOOKMARK"}, hold=True))
        with pytest.raises(errors.UnreachableError, match="watch ended after"):
            await events_of(client, widgets, idle_seconds=0.05)

    async def test_few_are_opened_at_one_time_and_any_number_stays_open(self, server, client, widgets, background):
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

    async def test_leaving_it_closes_the_connection(self, server, client, widgets):
        server.then(server.stream({"type": "BOOKMARK"}, hold=True))
        async with client.watch(widgets, resource_version="1", timeout_seconds=300, idle_seconds=5.0) as stream:
            await anext(stream)
            connector = client._transport._rest.pool_manager.connector
            assert connector._acquired
        assert not connector._acquired


async def test_a_token_never_appears_in_an_error_or_the_log(server, widgets, logged):
    configuration = Configuration()
    configuration.host = server.url
    configuration.api_key["BearerToken"] = "Bearer s3cr3t"
    server.then(server.status(403, message="no"), server.reset())
    async with Client(configuration) as client:
        for _ in range(2):
            with pytest.raises(errors.ApiError) as caught:
                await client.create(widgets, {"metadata": {"name": "a"}}, field_manager="me")
            assert "s3cr3t" not in repr(caught.value) + str(caught.value)
    assert "s3cr3t" not in str(logged)
