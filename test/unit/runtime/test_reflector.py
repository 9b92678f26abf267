import json

import pytest

from swarm_operator.runtime import errors
from swarm_operator.runtime.cache import Informer
from swarm_operator.runtime.reflector import State
from swarm_operator.runtime.resource import Key


@pytest.fixture
def reflector(new_reflector):
    """One that knows of no streamed lists; those are in test_streamed_lists.py."""
    return new_reflector(streaming=False)


def event(kind, obj):
    return {"type": kind, "object": obj}


def bookmark(version):
    return event("BOOKMARK", {"kind": "Widget", "metadata": {"resourceVersion": str(version)}})


def error_event(code, reason, message="no", **details):
    return event("ERROR", {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details})


async def steps(reflector, count):
    for _ in range(count):
        await reflector.step()


async def test_it_lists_the_newest_state_and_then_watches_from_the_list_s_version(server, reflector, sink, widget):
    server.then(server.listing(widget("a"), version="42"), server.stream(bookmark(43)))
    await steps(reflector, 2)
    assert sink.calls == [("replaced", ["a"], "42")]
    listed, watched = server.asked
    assert listed.query == {"limit": "500"}, "a restart must not go back in time"
    assert watched.query["resourceVersion"] == "42"


async def test_namespace_and_selector_apply_to_both(server, reflector):
    reflector.namespace, reflector.label_selector = "ns", "x=y"
    server.then(server.listing(), server.stream(bookmark(43)))
    await steps(reflector, 2)
    assert {asked.path for asked in server.asked} == {"/apis/example.com/v1/namespaces/ns/widgets"}
    assert {asked.query["labelSelector"] for asked in server.asked} == {"x=y"}


async def test_watches_end_after_a_random_time_between_five_and_ten_minutes(server, reflector):
    server.then(server.listing(), *(server.stream(bookmark(v)) for v in range(20)))
    await steps(reflector, 21)
    seconds = [int(asked.query["timeoutSeconds"]) for asked in server.asked[1:]]
    assert all(300 <= value <= 600 for value in seconds)
    assert len(set(seconds)) > 10


async def test_each_event_goes_to_the_sink_in_order(server, reflector, sink, widget):
    server.then(
        server.listing(version="1"),
        server.stream(
            event("ADDED", widget("a", 2)),
            event("MODIFIED", widget("a", 3)),
            bookmark(4),
            event("DELETED", widget("a", 5)),
        ),
    )
    await steps(reflector, 2)
    assert sink.calls[1:] == [("changed", "a"), ("changed", "a"), ("deleted", "a")]


async def test_managed_fields_are_not_kept(server, client, reflector, widgets, widget):
    informer = Informer(client, widgets)
    reflector.sink = informer
    server.then(
        server.listing(widget("a", 1, managedFields=[{}]), version="1"),
        server.stream(event("ADDED", widget("b", 2, managedFields=[{}]))),
    )
    await steps(reflector, 2)
    assert list(informer.store) == [widget("a", 1), widget("b", 2)]


async def test_after_the_end_of_a_stream_it_watches_on_from_the_last_version(server, reflector, clock, widget):
    server.then(
        server.listing(version="1"),
        server.stream(event("ADDED", widget("a", 7)), lambda: clock.advance(300)),
        server.stream(bookmark(9), lambda: clock.advance(300)),
        server.stream(bookmark(9), lambda: clock.advance(300)),
    )
    await steps(reflector, 4)
    assert [asked.query.get("resourceVersion") for asked in server.asked] == [None, "1", "7", "9"]
    assert clock.sleeps == [], "there is nothing to back off from"


async def test_a_quiet_watch_that_ends_after_its_time_is_no_failure(server, reflector, clock, failures):
    server.then(server.listing(version="1"), server.stream(lambda: clock.advance(300)))
    await steps(reflector, 2)
    assert (clock.sleeps, failures) == ([], [])


@pytest.mark.parametrize("events", [[], [bookmark(2)]], ids=["with nothing", "with a bookmark"])
async def test_a_server_that_ends_every_watch_at_once_is_asked_less_and_less_often(server, reflector, clock, events):
    server.then(server.listing(version="1"), *(server.stream(*events) for _ in range(20)))
    await steps(reflector, 21)
    assert clock.sleeps[:4] == [0.8, 1.6, 3.2, 6.4]
    assert clock.sleeps[-1] == 30.0
    assert len(clock.sleeps) == 20


async def test_a_server_that_ends_every_watch_after_one_event_is_asked_once_a_second(server, reflector, clock, widget):
    server.then(server.listing(version="1"), *(server.stream(event("ADDED", widget("a", n))) for n in range(2, 22)))
    await steps(reflector, 21)
    assert clock.seconds == pytest.approx(20.0), "an event must not wait for 30 s, and no two watches start within one"
    assert server.asked[-1].query["resourceVersion"] == "20"


async def test_after_half_an_hour_the_end_of_a_watch_is_followed_by_a_full_list(server, reflector, sink, clock, widget):
    """What puts an event right that never came."""

    def watch(version):
        return server.stream(bookmark(version), lambda: clock.advance(600))

    server.then(server.listing(version="1"), watch(2), watch(3), watch(4), server.listing(widget("a"), version="9"))
    server.then(watch(10))
    await steps(reflector, 6)
    assert [asked.query.get("watch") for asked in server.asked] == [None, "true", "true", "true", None, "true"]
    assert server.asked[4].query == {"resourceVersion": "4"}
    assert sink.calls[-1] == ("replaced", ["a"], "9")
    assert clock.sleeps == []


TOO_LARGE = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}


async def test_a_list_from_a_version_that_the_server_does_not_have_reads_the_newest_state(server, reflector, sink):
    reflector.version = "900"
    server.then(server.status(504, "Timeout", details=TOO_LARGE), server.listing(version="42"))
    await steps(reflector, 2)
    assert [asked.query for asked in server.asked] == [{"resourceVersion": "900"}, {"limit": "500"}]
    assert sink.calls == [("replaced", [], "42", "restored")]
    assert (reflector.version, reflector.newest) == ("42", False)


async def test_another_timeout_of_the_server_does_not_make_it_read_the_newest_state(server, reflector):
    reflector.version = "900"
    server.then(server.status(504, "Timeout"), server.listing(version="900"))
    await steps(reflector, 2)
    assert server.asked[1].query == {"resourceVersion": "900"}


async def test_a_watch_in_which_nothing_was_ever_heard_makes_it_list(server, reflector):
    """A watch from a version that a restored server does not have yet is accepted, and stays silent for ever."""
    reflector.idle_seconds = 0.05
    server.then(
        server.listing(version="900"),
        server.stream(hold=True),
        server.status(504, "Timeout", details=TOO_LARGE),
        server.listing(version="42"),
    )
    await steps(reflector, 4)
    assert [asked.query.get("resourceVersion") for asked in server.asked] == [None, "900", "900", None]
    assert [asked.query.get("watch") for asked in server.asked] == [None, "true", None, None]
    assert (reflector.state, reflector.version) == (State.WATCH, "42")


async def test_after_a_restore_of_etcd_the_newest_list_is_the_truth(server, client, reflector, widgets, widget):
    """Newer versions in the store are of a history that is no more."""
    informer, changes = Informer(client, widgets), []
    informer.add_handler(changes.append)
    reflector.sink = informer
    server.then(
        server.listing(widget("a", 800), widget("b", 810), widget("same", 5), version="900"),
        server.status(410, "Expired"),
        server.status(504, "Timeout", details=TOO_LARGE),
        server.listing(widget("a", 30), widget("same", 5), version="42"),
        server.stream(event("MODIFIED", widget("a", 43))),
    )
    await steps(reflector, 4)
    assert {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in informer.store} == {
        "a": "30",
        "same": "5",
    }
    assert [(change.key.name, change.new is None) for change in changes[3:]] == [("a", False), ("b", True)]
    await reflector.step()
    assert informer.store.get(Key("ns", "a")) == widget("a", 43), "and it goes on from there"


@pytest.mark.parametrize(
    "gone",
    ["status", "event"],
)
async def test_a_version_that_is_too_old_to_watch_makes_it_list_from_there_on(server, reflector, sink, widget, gone):
    answers = {
        "status": server.status(410, "Expired"),
        "event": server.stream(error_event(410, "Expired")),
    }
    server.then(server.listing(version="7"), answers[gone], server.listing(widget("b"), version="90"))
    await steps(reflector, 2)
    assert reflector.state is State.LIST
    await reflector.step()
    assert sink.calls == [("replaced", [], "7"), ("replaced", ["b"], "90")]
    assert server.asked[2].query == {"resourceVersion": "7"}, "never back in time"
    assert (reflector.state, reflector.version) == (State.WATCH, "90")


async def test_a_version_that_is_too_old_to_list_from_makes_it_read_the_newest_state(server, reflector):
    server.then(
        server.listing(version="7"), server.status(410), server.status(410, "Expired"), server.listing(version="90")
    )
    await steps(reflector, 4)
    assert server.asked[3].query == {"limit": "500"}
    assert reflector.version == "90"


async def test_deletes_during_a_gap_are_made_up_for(server, client, reflector, widgets, widget):
    informer, changes = Informer(client, widgets), []
    informer.add_handler(changes.append)
    reflector.sink = informer
    server.then(
        server.listing(widget("a", 1), widget("b", 2), version="7"),
        server.status(410),
        server.listing(widget("b", 2), version="90"),
    )
    await steps(reflector, 3)
    assert [obj["metadata"]["name"] for obj in informer.store] == ["b"]
    assert (changes[-1].key, changes[-1].new) == (Key("ns", "a"), None)


async def test_out_of_order_and_repeated_events_leave_the_newest_state(server, client, reflector, widgets, widget):
    informer, changes = Informer(client, widgets), []
    informer.add_handler(changes.append)
    reflector.sink = informer
    server.then(
        server.listing(version="1"),
        server.stream(
            event("ADDED", widget("a", 5)),
            event("ADDED", widget("a", 5)),
            event("MODIFIED", widget("a", 4)),
            event("DELETED", widget("b", 3)),
            event("DELETED", widget("a", 6)),
            event("MODIFIED", widget("a", 5)),
        ),
    )
    await steps(reflector, 2)
    assert len(informer.store) == 0
    assert [change.new and change.new["metadata"]["resourceVersion"] for change in changes] == ["5", None]


async def test_too_many_requests_are_waited_out_as_the_server_says_and_watched_on_without_a_list(
    server, reflector, clock
):
    retry_after = {"Retry-After": "17"}
    server.then(server.listing(version="7"), server.status(429, **retry_after))
    server.then(server.stream(bookmark(8), lambda: clock.advance(300)))
    await steps(reflector, 3)
    assert clock.sleeps == [17.0]
    assert [asked.query.get("watch") for asked in server.asked] == [None, "true", "true"]
    assert server.asked[2].query["resourceVersion"] == "7"


FAULTS = {
    "an internal error": lambda server: server.status(500, "InternalError"),
    "forbidden": lambda server: server.status(403, "Forbidden"),
    "no such kind": lambda server: server.status(404, "NotFound"),
    "a gateway's page": lambda server: server.text("<html>", 502),
    "a body that is cut short": lambda server: server.cut_short(500),
    "a reset stream": lambda server: server.stream(reset=True),
    "an error event": lambda server: server.stream(error_event(500, "InternalError")),
    "an error event without a code": lambda server: server.stream(event("ERROR", {"kind": "Status"})),
    "truncated JSON": lambda server: server.stream(b'{"type": "ADDED", "object": {\n'),
    "an event that is no object": lambda server: server.stream(b"[]\n"),
    "an event of nothing": lambda server: server.stream(event("ADDED", None)),
    "an object without metadata": lambda server: server.stream(event("ADDED", {"kind": "Widget"})),
    "an object with null metadata": lambda server: server.stream(event("MODIFIED", {"metadata": None})),
    "an object without a name": lambda server: server.stream(event("DELETED", {"metadata": {"resourceVersion": "8"}})),
    "a bookmark without a version": lambda server: server.stream(event("BOOKMARK", {"metadata": {}})),
    "a bookmark without metadata": lambda server: server.stream(event("BOOKMARK", {})),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_fault_of_a_watch_is_backed_off_from_and_watched_on_from_the_same_version(
    server, reflector, sink, clock, failures, fault
):
    server.then(server.listing(version="7"), fault(server), fault(server), server.stream(bookmark(9)))
    await steps(reflector, 3)
    assert (reflector.state, reflector.version) == (State.WATCH, "7")
    assert clock.sleeps == [0.8, 1.6]
    assert len(failures) == 2
    await reflector.step()
    assert reflector.version == "9"
    assert sink.calls == [("replaced", [], "7")]


LIST_FAULTS = {
    "an internal error": lambda server: server.status(500, "InternalError"),
    "no such kind": lambda server: server.status(404, "NotFound"),
    "a sign-in page": lambda server: server.text("<html>"),
    "nothing": lambda server: server.text(""),
    "a body that is cut short": lambda server: server.cut_short(),
    "no version": lambda server: server.json({"metadata": {}, "items": []}),
}


@pytest.mark.parametrize("fault", LIST_FAULTS.values(), ids=LIST_FAULTS)
async def test_a_fault_of_a_list_is_backed_off_from_and_listed_again(server, reflector, sink, clock, failures, fault):
    server.then(fault(server), fault(server), server.listing(version="7"))
    await steps(reflector, 3)
    assert clock.sleeps == [0.8, 1.6]
    assert sink.calls == [("replaced", [], "7")]
    assert all(isinstance(failure, errors.ApiError) for failure in failures)
    assert all("resourceVersion" not in asked.query for asked in server.asked)


async def test_a_watch_that_falls_silent_is_watched_on_from_the_last_version(server, reflector, failures):
    reflector.idle_seconds = 0.05
    server.then(server.listing(version="7"), server.stream(bookmark(8), hold=True), server.stream(bookmark(9)))
    await steps(reflector, 3)
    assert isinstance(failures[0], errors.UnreachableError)
    assert (server.asked[2].query.get("watch"), server.asked[2].query["resourceVersion"]) == ("true", "8")


async def test_what_came_before_a_fault_is_kept(server, reflector, sink, widget):
    server.then(server.listing(version="7"), server.stream(event("ADDED", widget("a", 8)), reset=True), server.stream())
    await steps(reflector, 3)
    assert ("changed", "a") in sink.calls
    assert server.asked[2].query["resourceVersion"] == "8"


async def test_an_event_of_an_unknown_type_is_skipped(server, reflector, sink, widget, failures):
    server.then(
        server.listing(version="7"),
        server.stream(event("RENAMED", widget("a", 8)), event("ADDED", widget("b", 9))),
    )
    await steps(reflector, 2)
    assert sink.calls[1:] == [("changed", "b")]
    assert failures == []


async def test_an_error_event_s_wish_to_wait_is_honoured(server, reflector, clock):
    server.then(server.listing(version="7"), server.stream(error_event(429, "TooManyRequests", retryAfterSeconds=12)))
    await steps(reflector, 2)
    assert clock.sleeps == [12.0]


async def test_a_healthy_while_starts_the_back_off_over(server, reflector, clock):
    server.then(
        server.listing(version="7"),
        *(server.status(500) for _ in range(4)),
        server.stream(lambda: clock.advance(300)),
        server.status(500),
    )
    await steps(reflector, 7)
    assert clock.sleeps == [0.8, 1.6, 3.2, 6.4, 0.8]


@pytest.mark.parametrize("code", [410, 429])
async def test_a_server_that_is_back_is_not_waited_for_as_long_as_it_was_away(server, reflector, clock, code):
    """After a restart it often says that it is not ready yet, or that the version is too old."""
    server.then(
        server.listing(version="7"),
        *(server.status(503) for _ in range(5)),
        server.status(code),
        *([server.listing(version="9")] if code == 410 else [server.stream(bookmark(8))]),
    )
    await steps(reflector, 8)
    assert clock.sleeps[:6] == [0.8, 1.6, 3.2, 6.4, 12.8, 0.8]


@pytest.mark.parametrize("broken", ["watch", "server"])
async def test_a_server_that_keeps_failing_is_asked_ever_more_seldom_whatever_it_says(server, reflector, clock, broken):
    """A stream that breaks does not count as away. A gateway's 5xx does, once each time."""
    failure = server.stream(reset=True) if broken == "watch" else server.status(503)
    server.then(server.listing(version="7"), failure, *(server.status(429) for _ in range(3)), failure)
    await steps(reflector, 6)
    assert clock.sleeps == ([0.8, 1.6, 3.2, 6.4, 12.8] if broken == "watch" else [0.8, 0.8, 1.6, 3.2, 6.4])


async def test_it_runs_until_it_is_cancelled(server, reflector, sink, background, widget):
    server.then(
        server.status(500),
        server.listing(version="1"),
        server.stream(event("ADDED", widget("a", 2))),
        server.stream(json.dumps(bookmark(3)).encode() + b"\n", hold=True),
    )
    task = background(reflector.run())
    await server.wait_asked(4)
    assert sink.calls == [("replaced", [], "1"), ("changed", "a")]
    assert not task.done()


async def test_what_the_sink_raises_ends_it(server, reflector, sink, widget):
    def broken(obj):
        raise LookupError(obj["metadata"]["name"])

    sink.changed = broken
    server.then(server.listing(version="1"), server.stream(event("ADDED", widget("a", 2))))
    with pytest.raises(LookupError, match="a"):
        await reflector.run()


async def test_lists_watches_and_events_are_counted(server, reflector, clock, widget, reflected):
    async def slow_list(request):
        clock.advance(2)
        return await server.listing(widget("a"), widget("b"))(request)

    events = [event("MODIFIED", widget("a", 11)), event("DELETED", widget("b", 12)), bookmark(13)]
    server.then(slow_list, server.stream(*events, lambda: clock.advance(5)))
    await steps(reflector, 2)
    assert reflected() == {
        "lists_total": 1,
        "list_duration_seconds_count": 1,
        "list_duration_seconds_sum": 2,
        "items_per_list_count": 1,
        "items_per_list_sum": 2,
        "watches_total": 1,
        "watch_duration_seconds_count": 1,
        "watch_duration_seconds_sum": 5,
        "items_per_watch_count": 1,
        "items_per_watch_sum": 2,
        "events_total": 2,
    }


async def test_failures_and_short_watches_are_counted(server, reflector, reflected):
    server.then(server.status(500), server.listing(), server.stream(), server.status(500))
    await steps(reflector, 4)
    counted = reflected()
    assert counted["restarts_total"] == 3
    assert counted["lists_total"] == 2
    assert counted["list_duration_seconds_count"] == 1
    assert counted["watches_total"] == 2
    assert counted["short_watches_total"] == 2
