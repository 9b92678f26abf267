import asyncio
import contextlib

import pytest

from swarm_operator.runtime import errors
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.kubernetes_asyncio import Configuration


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
