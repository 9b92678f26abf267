"""The embedder that asks an endpoint compatible with OpenAI's: a real server, and its faults."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web
from support.authority import Authority
from support.embeddings import MODEL, EmbeddingServer

from swarm_operator.memory.core.errors import EmbeddingError
from swarm_operator.memory.embedding import endpoint as module
from swarm_operator.memory.embedding.endpoint import http_embedder
from swarm_operator.memory.embedding.settings import EmbedderSettings

TEXTS = ["How do I get reimbursed?", "", "Store hours begin at nine", " \n", "the third"]
KEY = "sk-0123456789abcdef"


async def refused(embedder, *texts):
    """The message of the error."""
    with pytest.raises(EmbeddingError) as error:
        await embedder.embed(texts or ["a text"])
    return str(error.value)


async def test_vectors_are_those_of_the_model_in_the_order_of_the_texts(opened, static):
    embedder = await opened()
    assert list(await embedder.embed(TEXTS)) == list(await static.embed(TEXTS))
    assert await embedder.embed([]) == []
    assert (embedder.name, embedder.width) == ("http/static/256", 256)


async def test_the_width_is_found_out_if_it_is_not_given(opened, static):
    embedder = await opened(width=None)
    assert (embedder.name, embedder.width) == ("http/static/256", 256)
    assert list(await embedder.embed(TEXTS)) == list(await static.embed(TEXTS))


async def test_an_endpoint_that_does_not_say_its_width_is_named(opened, server):
    server.fail(404, "no such model")
    with pytest.raises(EmbeddingError, match=r"^embedder: http://127\.0\.0\.1:\d+: status 404: no such model"):
        await opened(width=None)


async def test_texts_are_sent_in_batches_and_blank_ones_are_not_sent(opened, server, static):
    texts = [f"text {number}" for number in range(10)] + ["", " "]
    embedder = await opened(batch=4)
    assert list(await embedder.embed(texts)) == list(await static.embed(texts))
    assert [len(asked) for asked in server.asked] == [4, 4, 2]


async def test_a_large_answer_is_read(opened, static):
    texts = [f"text {number} of a batch" for number in range(64)]
    assert list(await (await opened()).embed(texts)) == list(await static.embed(texts))


async def test_too_many_texts_are_sent_in_smaller_batches(opened, server, static):
    server.most = 3
    texts = [f"text {number}" for number in range(8)]
    assert list(await (await opened()).embed(texts)) == list(await static.embed(texts))


async def test_a_text_that_is_too_long_is_sent_in_part(opened, server, static):
    server.longest = 500
    texts = ["short", "word " * 300]
    first, second = await (await opened()).embed(texts)
    assert [first, second] == list(await static.embed(["short", ("word " * 300)[:375]]))


async def test_an_endpoint_that_refuses_everything_is_asked_some_times_only(opened, server):
    server.longest = 0
    message = await refused(await opened(), *["word " * 1000] * 64)
    assert "status 400" in message
    assert "too long" in message
    assert len(server.asked) < 20


async def test_the_key_is_read_for_each_request(opened, server, static, tmp_path):
    file = tmp_path / "api-key"
    server.key = KEY
    file.write_text(f"{KEY}\n")
    embedder = await opened(key_file=file)
    assert list(await embedder.embed(["a"])) == list(await static.embed(["a"]))
    server.key = "sk-another"
    assert "status 401: the key is refused" in await refused(embedder)
    file.write_text("sk-another")
    assert list(await embedder.embed(["a"])) == list(await static.embed(["a"]))
    file.unlink()
    assert await refused(embedder) == f"embedder_key_file: {file}: No such file or directory"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xc3\xa9", b"a\nb", b"a\0"])
async def test_what_is_no_key_is_named_and_not_sent(opened, server, tmp_path, content):
    file = tmp_path / "api-key"
    file.write_bytes(content)
    assert (await refused(await opened(key_file=file))).startswith(f"embedder_key_file: {file}: ")
    assert server.asked == []


async def test_no_error_names_the_key(opened, server, tmp_path):
    file = tmp_path / "api-key"
    file.write_text(KEY)
    embedder = await opened(key_file=file)
    server.key = "another"
    assert KEY not in await refused(embedder)
    for status in (400, 404, 302, 403):
        server.fail(status, f"you sent {KEY}")
        assert KEY not in await refused(embedder)
    for _ in range(20):
        server.fail(500, f"you sent {KEY}")
    assert "you sent ***" in await refused(embedder)


async def test_without_a_key_one_that_wants_it_is_named(opened, server):
    server.key = KEY
    assert "status 401: it wants a key" in await refused(await opened())


async def test_a_busy_endpoint_is_asked_again_with_growing_pauses(opened, server, static, passing):
    for status in (429, 500, 503):
        server.fail(status)
    assert list(await (await opened()).embed(["a"])) == list(await static.embed(["a"]))
    first, second, third = passing.slept
    assert 0.125 <= first <= 0.25 <= second <= 0.5 <= third <= 1


async def test_a_broken_connection_is_tried_again(opened, server, static):
    async def break_off(request):
        request.transport.abort()
        return web.Response()

    server.faults.append(break_off)
    assert list(await (await opened()).embed(["a"])) == list(await static.embed(["a"]))


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_pause_that_is_asked_for_is_kept(opened, server, static, passing, form):
    moment = datetime.now(UTC) + timedelta(seconds=6.5)
    server.fail(429, headers={"Retry-After": "6" if form == "seconds" else format_datetime(moment, usegmt=True)})
    assert list(await (await opened()).embed(["a"])) == list(await static.embed(["a"]))
    (pause,) = passing.slept
    assert 1 <= pause <= 6.5


async def test_a_pause_that_is_longer_than_the_time_holds_for_all_calls(opened, server, static, passing):
    embedder = await opened(timeout=10)
    server.fail(429, "slow down", headers={"Retry-After": "60"})
    assert "status 429: slow down; the next attempt is in 60.0 s" in await refused(embedder)
    passing.now += 30
    assert "status 429: slow down; the next attempt is in 30.0 s" in await refused(embedder)
    assert len(server.asked) == 1
    passing.now += 28.5
    assert list(await embedder.embed(["a"])) == list(await static.embed(["a"]))
    assert passing.now == 60


async def test_after_a_call_that_found_it_away_others_fail_at_once_for_some_time(opened, server, static, passing):
    embedder = await opened(timeout=10)
    for away in (2, 4, 8, 16, 30, 30):
        for _ in range(50):
            server.fail(503)
        assert "status 503; the next attempt is in " in await refused(embedder)
        asked = len(server.asked)
        passing.now += max(away - 2.5, 0)
        if away > 4:
            assert "status 503; the next attempt is in 2." in await refused(embedder)
        assert len(server.asked) == asked
        passing.now += 10
    server.faults.clear()
    assert list(await embedder.embed(["a"])) == list(await static.embed(["a"]))
    server.fail(503)
    assert list(await embedder.embed(["a"])) == list(await static.embed(["a"])), "it counts from the beginning again"


@pytest.mark.parametrize("text", ["nan", "inf", "-5", "soon", "1e9", "Thu, 99 Foo", ""])
def test_no_retry_after_stops_the_embedder_for_good(text):
    assert 0 <= module._retry_after(text) <= 300


async def test_an_endpoint_that_stays_busy_is_named_when_the_time_is_over(opened, server, passing):
    for _ in range(50):
        server.fail(503, "overloaded")
    message = await refused(await opened(timeout=10))
    assert "status 503: overloaded" in message
    assert passing.now <= 10


async def test_one_that_is_away_is_named(opened, server):
    embedder = await opened(url="http://127.0.0.1:1/v1")
    assert "embedder: http://127.0.0.1:1" in await refused(embedder)


async def test_one_that_does_not_answer_is_named(server):
    async def wait(_):
        await asyncio.Event().wait()

    settings = EmbedderSettings(mode="http", url=server.url, model=MODEL, width=256, timeout=1)
    server.faults += [wait] * 5
    async with http_embedder(settings) as embedder:
        assert "no answer within 1 s" in await refused(embedder)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"data": []}, "0 vectors for 1 texts"),
        ({"data": [{"embedding": [1.0]}] * 2}, "2 vectors for 1 texts"),
        ({"data": [{"embedding": [1.0] * 255}]}, "a vector of 255 numbers; 256 are expected"),
        ({"data": [{"embedding": [1.0] * 255 + [float("nan")]}]}, "a number that is NaN or infinite"),
        ({"data": [{"embedding": [float("-inf")] + [1.0] * 255}]}, "a number that is NaN or infinite"),
        ({"data": [{"embedding": [1e39] + [1.0] * 255}]}, "data[0].embedding: 1 to 4096 finite numbers"),
        ({"data": [{"embedding": ["1.0"] * 256}]}, "data[0].embedding: 1 to 4096 finite numbers"),
        ({"data": [{"embedding": [None] + [1.0] * 255}]}, "data[0].embedding: 1 to 4096 finite numbers"),
        ({"data": [{"embedding": "AACAPw=="}]}, "data[0].embedding: 1 to 4096 finite numbers"),
        ({"data": [{"embedding": []}]}, "data[0].embedding: 1 to 4096 finite numbers"),
        ({"data": [{}]}, "data[0].embedding: 1 to 4096 finite numbers"),
        ({"data": [{"index": 1, "embedding": [1.0] * 256}]}, "data[0].index: "),
        ({"data": [{"index": "0", "embedding": [1.0] * 256}]}, "data[0].index: "),
        ({"data": [[1.0]]}, "data[0].index: "),
        ({"data": {"embedding": [1.0]}}, "no JSON object with a list `data`"),
        ([1.0], "no JSON object with a list `data`"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_refused_by_name(opened, server, document, why):
    server.answer(document)
    message = await refused(await opened())
    assert message.startswith("embedder: http://127.0.0.1")
    assert why in message
    assert len(server.asked) == 1, "another attempt would have the same answer"


async def test_two_vectors_of_one_text_are_refused(opened, server):
    server.answer({"data": [{"index": 0, "embedding": [1.0] * 256}] * 2})
    assert "data[1].index: " in await refused(await opened(), "a", "b")


async def test_html_and_broken_json_are_refused_by_name(opened, server):
    embedder = await opened()
    server.fail(200, "<html>Sign in</html>", content_type="text/html")
    assert "it answers text/html, not application/json" in await refused(embedder)
    server.fail(200, '{"data": [', content_type="application/json")
    assert "it answers no JSON: " in await refused(embedder)


async def test_a_redirect_is_not_followed(opened, server, tmp_path):
    file = tmp_path / "api-key"
    file.write_text(KEY)
    embedder = await opened(key_file=file)
    server.fail(307, headers={"Location": server.url + "/embeddings"})
    assert "status 307: a redirect, which is not followed" in await refused(embedder)
    assert len(server.asked) == 1


async def test_an_endless_answer_is_not_read_to_its_end(opened, server):
    sent = 0

    async def pour(request):
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while sent < 64 * 1024 * 1024:
            await response.write(b"[" * 65536)
            sent += 65536
        return response

    server.faults.append(pour)
    assert "it answers more than 73728 bytes for 1 texts" in await refused(await opened())
    assert sent < 64 * 1024 * 1024


async def test_the_reason_of_a_refusal_is_shortened(opened, server):
    server.fail(404, "x\n" * 100_000)
    message = await refused(await opened())
    assert "status 404" in message
    assert len(message) < 300
    assert "\n" not in message


async def test_tls_is_verified_by_the_file_of_the_settings(opened, static, tmp_path):
    authority, other = (Authority(name, datetime.now(UTC)) for name in ("ours", "another"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority.server(tmp_path / "server.pem"))
    file = tmp_path / "ca.crt"
    async with EmbeddingServer(static).running(tls) as server:
        embedder = await opened(url=server.url)
        assert "its certificate is refused" in await refused(embedder)
        embedder = await opened(url=server.url, ca_file=file)
        assert f"embedder_ca_file: {file}: " in (await refused(embedder)).replace("[Errno 2] ", "")
        for content in (b" ", other.certificate, authority.certificate):
            file.write_bytes(content)
            if content is not authority.certificate:
                assert "certificate" in await refused(embedder)
                assert server.asked == []
        assert list(await embedder.embed(["a"])) == list(await static.embed(["a"]))


async def test_a_former_model_is_asked_for_at_the_same_endpoint(opened, server, static):
    embedder = await opened(model="new", width=3)
    former = embedder.of_name("http/static/256")
    assert list(await former.embed(["a"])) == list(await static.embed(["a"]))
    assert "The model new does not exist" in await refused(embedder)
