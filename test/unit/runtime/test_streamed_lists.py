"""Lists as streams (WatchList): `sendInitialEvents=true`, ended by an annotated bookmark."""

import pytest

from swarm_operator.runtime.errors import SilentError
from swarm_operator.runtime.reflector import State


@pytest.fixture
def reflector(new_reflector):
    return new_reflector(streaming=True)


def added(obj):
    return {"type": "ADDED", "object": obj}


def bookmark(version, **annotations):
    metadata = {"resourceVersion": str(version)} | ({"annotations": annotations} if annotations else {})
    return {"type": "BOOKMARK", "object": {"kind": "Widget", "metadata": metadata}}


def end(version):
    return bookmark(version, **{"k8s.io/initial-events-end": "true"})


async def steps(reflector, count):
    for _ in range(count):
        await reflector.step()


async def test_what_exists_comes_as_one_list_and_the_same_watch_goes_on(server, reflector, sink, clock, widget):
    server.then(
        server.stream(
            added(widget("b", 7)),
            added(widget("a", 3)),
            lambda: sink.calls.append("before the end"),
            end(9),
            added(widget("c", 10)),
            lambda: clock.advance(300),
        )
    )
    await reflector.step()
    assert sink.calls == ["before the end", ("replaced", ["b", "a"], "9"), ("changed", "c")]
    assert (len(server.asked), reflector.state, reflector.version) == (1, State.WATCH, "10")


async def test_it_asks_for_the_newest_state_first_and_never_goes_back_afterwards(server, reflector, clock):
    server.then(
        server.stream(end(9), lambda: clock.advance(300)),
        server.status(410, "Expired"),
        server.stream(end(20), lambda: clock.advance(300)),
    )
    await steps(reflector, 3)
    first, watch, again = (dict(asked.query) for asked in server.asked)
    assert all(300 <= int(query.pop("timeoutSeconds")) <= 600 for query in (first, watch, again))
    streamed = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
    }
    assert first == streamed
    assert watch == {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "9"}
    assert again == streamed | {"resourceVersion": "9"}


async def test_changes_before_the_end_are_part_of_the_list(server, reflector, sink, widget):
    server.then(
        server.stream(
            added(widget("a", 3, managedFields=[{}])),
            added(widget("b", 4)),
            bookmark(5),
            {"type": "MODIFIED", "object": widget("a", 6)},
            {"type": "DELETED", "object": widget("b", 7)},
            end(8),
        )
    )
    await reflector.step()
    assert sink.calls == [("replaced", ["a"], "8")]


@pytest.mark.parametrize("code", [400, 422])
async def test_a_server_that_refuses_is_listed_at_once_and_never_asked_again(server, reflector, sink, clock, code):
    server.then(
        server.status(code, "Invalid"),
        server.listing(version="7"),
        server.status(410, "Expired"),
        server.listing(version="9"),
    )
    await steps(reflector, 2)
    assert clock.sleeps == [], "a refusal is no failure"
    await steps(reflector, 2)
    assert sink.calls == [("replaced", [], "7"), ("replaced", [], "9")]
    assert ["sendInitialEvents" in asked.query for asked in server.asked] == [True, False, False, False]
    assert [asked.query.get("resourceVersion") for asked in server.asked[1:]] == [None, "7", "7"]


@pytest.mark.parametrize("fault", ["ends", "breaks", "is silent", "has no end", "is an error"])
async def test_a_stream_that_does_not_come_to_its_end_is_dropped_and_a_plain_list_follows(
    server, reflector, sink, clock, failures, widget, fault
):
    reflector.idle_seconds, reflector.initial_seconds = (1.0, 60.0) if fault == "is silent" else (5.0, 1.0)
    event = added(widget("a", 3))
    answers = {
        "ends": server.stream(event),
        "breaks": server.stream(event, reset=True),
        "is silent": server.stream(event, hold=True),
        "has no end": server.stream(event, bookmark(5), hold=True),
        "is an error": server.status(500, "InternalError"),
    }
    server.then(answers[fault], server.listing(widget("b"), version="7"), server.status(410), server.stream(end(9)))
    await steps(reflector, 2)
    assert sink.calls == [("replaced", ["b"], "7")]
    assert clock.sleeps == [0.8]
    reasons = {
        "ends": "before the list did",
        "breaks": "watch ended after",
        "is silent": "watch ended after",
        "has no end": "within 1 s",
        "is an error": "no",
    }
    assert reasons[fault] in failures[0].message
    await steps(reflector, 2)
    assert sink.calls[1:] == [("replaced", [], "9")], "the next one is streamed again"


async def test_a_stream_that_has_come_to_its_end_may_last(server, reflector, failures):
    """The limit is for the list, not for the watch that follows it on the same connection."""
    reflector.initial_seconds, reflector.idle_seconds = 0.1, 0.4
    server.then(server.stream(end(5), hold=True))
    await reflector.step()
    assert (reflector.state, reflector.version) == (State.WATCH, "5")
    assert isinstance(failures[0], SilentError), "it ended by silence, not by the limit"


@pytest.mark.parametrize("fault", ["reset", "429", "401"])
async def test_a_server_that_is_out_of_reach_is_asked_for_a_stream_again(server, reflector, sink, fault):
    """A plain list may be stale, a stream from no version is not."""
    # aiohttp asks again after a reset, the client after a 401.
    refusals = {"reset": [server.reset()] * 2, "429": [server.status(429)], "401": [server.status(401)] * 2}
    server.then(*refusals[fault])
    server.then(server.stream(end(9)))
    await steps(reflector, 2)
    assert "sendInitialEvents" in server.asked[-1].query
    assert sink.calls == [("replaced", [], "9")]


@pytest.mark.parametrize("as_event", [False, True], ids=["status", "event"])
@pytest.mark.parametrize(("code", "cause"), [(410, ""), (504, "ResourceVersionTooLarge")])
async def test_a_version_that_the_server_cannot_stream_from_makes_it_stream_the_newest_state(
    server, reflector, sink, code, cause, as_event
):
    reflector.version = "900"
    details = {"causes": [{"reason": cause}]}
    status = {"kind": "Status", "code": code, "details": details}
    refusal = server.stream({"type": "ERROR", "object": status}) if as_event else server.json(status, code)
    server.then(refusal, server.stream(end(42)))
    await steps(reflector, 2)
    assert server.asked[0].query["resourceVersion"] == "900"
    assert "resourceVersion" not in server.asked[1].query
    assert sink.calls == [("replaced", [], "42", "restored")]


async def test_a_server_that_never_ends_a_list_is_not_asked_in_a_tight_loop(server, reflector, clock):
    server.then(*(server.stream() if n % 2 == 0 else server.status(500) for n in range(20)))
    await steps(reflector, 20)
    assert clock.sleeps[:3] == [0.8, 1.6, 3.2]
    assert len(clock.sleeps) == 20


async def test_a_streamed_list_is_counted_as_a_list_and_a_watch(server, reflector, clock, widget, reflected):
    server.then(
        server.stream(
            added(widget("a", 3)),
            lambda: clock.advance(2),
            end(9),
            added(widget("c", 10)),
            lambda: clock.advance(300),
        )
    )
    await reflector.step()
    counted = reflected()
    assert counted["lists_total"] == counted["watches_total"] == counted["items_per_list_sum"] == 1
    assert counted["list_duration_seconds_count"] == counted["watch_duration_seconds_count"] == 1
    assert counted["watch_duration_seconds_sum"] == 302
    assert counted["events_total"] == counted["items_per_watch_sum"] == 2
    assert "short_watches_total" not in counted
