import asyncio

import pytest

from swarm_operator.runtime.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
)
from swarm_operator.runtime.events import EVENTS, EventRecorder

pytestmark = pytest.mark.virtual_time


class Recording:
    """A client that keeps what it is given, after the refusals that it was told to make."""

    def __init__(self):
        self.calls = []
        self.refusals = []
        self.attempts = []
        self.gate = None
        """Set while requests that begin are to wait for it."""

    async def create(self, resource, obj, *, field_manager):
        if self.gate:
            await self.gate.wait()
        self._answer(("create", resource, obj, field_manager))

    async def merge(self, resource, namespace, name, patch, *, field_manager):
        self._answer(("merge", resource, (namespace, name, patch), field_manager))

    def _answer(self, call):
        self.attempts.append(asyncio.get_running_loop().time())
        if self.refusals and (refusal := self.refusals.pop(0)):
            raise refusal
        self.calls.append(call)

    @property
    def created(self):
        return [call[2] for call in self.calls if call[0] == "create"]

    @property
    def merged(self):
        return [call[2] for call in self.calls if call[0] == "merge"]


@pytest.fixture
def client():
    return Recording()


@pytest.fixture
def recorder(client, clock):
    return EventRecorder(client, controller="swarm-operator", instance="pod-1", clock=clock)


@pytest.fixture
def record(recorder, widget):
    def call(note="all is well", *, of="a", kind="Normal", reason="Created", action="Create"):
        recorder.event(widget(of, 7), kind, reason, note, action=action)

    return call


@pytest.fixture
def running(recorder, background):
    return background(recorder.run())


async def test_an_event_has_every_field_that_the_api_asks_for(recorder, record, client, running):
    record("something", kind="Warning", reason="Refused", action="Reconcile")
    await recorder.drain()
    ((_, resource, event, manager),) = client.calls
    assert (resource, manager) == (EVENTS, "swarm-operator")
    metadata = event.pop("metadata")
    assert metadata["namespace"] == "ns"
    assert metadata["name"].startswith("a.")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": "2026-11-23T12:00:00.000000Z",
        "reportingController": "swarm-operator",
        "reportingInstance": "pod-1",
        "action": "Reconcile",
        "reason": "Refused",
        "type": "Warning",
        "note": "something",
        "regarding": {
            "apiVersion": "example.com/v1",
            "kind": "Widget",
            "name": "a",
            "namespace": "ns",
            "uid": "uid-a",
            "resourceVersion": "7",
        },
    }


async def test_an_event_about_a_cluster_scoped_object_goes_to_the_default_namespace(recorder, client, widget, running):
    recorder.event(widget("a", namespace=""), "Normal", "Created", "note", action="Create")
    await recorder.drain()
    assert client.created[0]["metadata"]["namespace"] == "default"


@pytest.mark.parametrize("letter", ["x", "ä", "🐝"])
async def test_a_note_is_cut_to_the_1024_bytes_that_the_api_allows(recorder, record, client, running, letter):
    record(letter * 2000)
    await recorder.drain()
    note = client.created[0]["note"]
    assert 1020 < len(note.encode()) <= 1024
    assert set(note) == {letter}


async def test_a_second_event_of_the_same_makes_it_a_series(recorder, record, client, clock, running):
    record()
    await recorder.drain()
    await clock.sleep(5)
    record()
    await recorder.drain()
    (created,), ((namespace, name, patch),) = client.created, client.merged
    assert (namespace, name) == ("ns", created["metadata"]["name"])
    assert patch == {"series": {"count": 2, "lastObservedTime": "2026-11-23T12:00:05.000000Z"}}


async def test_a_series_is_written_once_a_minute_with_its_count(recorder, record, client, clock, running):
    for _ in range(150):
        record()
        await clock.sleep(1)
    await recorder.drain()
    assert len(client.created) == 1
    assert [patch["series"]["count"] for _, _, patch in client.merged] == [2, 62, 122]


async def test_the_last_count_of_a_series_is_written_when_it_has_ended(recorder, record, client, clock, running):
    for _ in range(30):
        record()
        await clock.sleep(1)
    assert [patch["series"]["count"] for _, _, patch in client.merged] == [2]
    await clock.sleep(360 + 60)
    last = {"series": {"count": 30, "lastObservedTime": "2026-11-23T12:00:29.000000Z"}}
    assert [patch for _, _, patch in client.merged][1:] == [last]
    assert recorder._series == {}
    await clock.sleep(3600)
    assert len(client.attempts) == 3


async def test_a_series_whose_count_the_server_has_is_not_written_again_at_its_end(
    recorder, record, client, clock, running
):
    record()
    record("another")
    record("another")
    await clock.sleep(3600)
    # The second pair was counted before it was first sent.
    assert (len(client.created), len(client.merged)) == (1, 1)


async def test_a_series_ends_after_six_silent_minutes(recorder, record, client, clock, running):
    record()
    await clock.sleep(361)
    record()
    await recorder.drain()
    assert len(client.created) == 2
    assert client.merged == []


async def test_of_too_many_series_those_that_were_silent_for_longest_end(recorder, record, client, running):
    for number in range(5000):
        record(of=f"w{number}")
        await recorder.drain()
        record(of="w0")
    assert len(recorder._series) <= 4097  # one more until the next event
    uids = {identity[3] for identity in recorder._series}
    assert "uid-w0" in uids
    assert "uid-w1" not in uids
    assert len(client.created) == 5000


async def test_nothing_is_kept_of_series_that_have_ended(recorder, record, clock, running):
    for number in range(100):
        record(of=f"w{number}")
    await clock.sleep(361)
    record()
    await recorder.drain()
    assert len(recorder._series) == 1


@pytest.mark.parametrize(
    "other",
    [{"note": "x"}, {"of": "b"}, {"kind": "Warning"}, {"reason": "Other"}, {"action": "Other"}],
    ids=lambda other: next(iter(other)),
)
async def test_an_event_that_differs_is_an_event_of_its_own(recorder, record, client, running, other):
    record()
    record(**other)
    await recorder.drain()
    assert len(client.created) == 2
    assert len({event["metadata"]["name"] for event in client.created}) == 2


async def test_an_event_that_has_expired_is_made_anew_with_the_count_of_its_series(recorder, record, client, running):
    record()
    await recorder.drain()
    client.refusals = [NotFoundError("gone", status=404)]
    record()
    await recorder.drain()
    assert client.created[1]["series"]["count"] == 2
    assert client.created[1]["metadata"]["name"] == client.created[0]["metadata"]["name"]


async def test_recording_never_blocks_and_drops_what_is_too_much(recorder, record, client, logged, background):
    for number in range(1200):
        record(f"note {number}")
    assert [entry["event"] for entry in logged].count("event dropped: too many are waiting") == 200
    background(recorder.run())
    await recorder.drain()
    assert len(client.created) == 1000


async def test_an_event_that_was_dropped_does_not_silence_those_that_follow(recorder, record, client, background):
    for number in range(1001):
        record(f"note {number}")
    background(recorder.run())
    await recorder.drain()
    client.refusals = [NotFoundError("was never there", status=404)]
    record("note 1000")
    await recorder.drain()
    assert client.created[-1]["note"] == "note 1000"


async def test_a_failure_that_may_pass_is_tried_again_after_growing_delays(recorder, record, client, running):
    client.refusals = [ServerError("down", status=500), ServerError("down", status=500)]
    record()
    await recorder.drain()
    assert len(client.created) == 1
    assert client.attempts == pytest.approx([0.0, 1.0, 3.0])


async def test_the_server_s_wish_to_wait_is_honoured(recorder, record, client, running):
    client.refusals = [TooManyRequestsError("busy", status=429, retry_after=7.0)]
    record()
    await recorder.drain()
    assert client.attempts == pytest.approx([0.0, 7.0])


async def test_an_event_that_takes_long_holds_up_no_other(recorder, record, client, running, settled):
    client.gate = asyncio.Event()
    record("first")
    await settled()
    gate, client.gate = client.gate, None
    record("second")
    await settled()
    assert [event["note"] for event in client.created] == ["second"]
    gate.set()
    await recorder.drain()
    assert [event["note"] for event in client.created] == ["second", "first"]


async def test_a_series_is_not_counted_up_before_its_first_event_is_there(
    recorder, record, client, clock, running, settled
):
    client.gate = asyncio.Event()
    record()
    await settled()
    gate, client.gate = client.gate, None
    await clock.sleep(61)
    record()
    await settled()
    assert client.calls == []
    gate.set()
    await recorder.drain()
    assert [call[0] for call in client.calls] == ["create", "merge"]


async def test_an_event_is_dropped_after_four_tries_and_the_next_is_sent(recorder, record, client, running, logged):
    client.refusals = [ServerError("down", status=500) for _ in range(4)]
    record("first")
    await recorder.drain()
    record("second")
    await recorder.drain()
    assert [event["note"] for event in client.created] == ["second"]
    assert len(client.attempts) == 5
    assert "event dropped" in [entry["event"] for entry in logged]


@pytest.mark.parametrize("refusal", [InvalidError("no", status=422), ForbiddenError("no", status=403)])
async def test_what_the_server_refuses_is_not_tried_again(recorder, record, client, running, refusal):
    client.refusals = [refusal]
    record()
    await recorder.drain()
    assert len(client.attempts) == 1


async def test_an_event_whose_first_try_went_through_without_an_answer_is_not_tried_for_ever(
    recorder, record, client, running, logged
):
    client.refusals = [ServerError("timeout", status=504), ConflictError("exists", status=409, reason="AlreadyExists")]
    record()
    await recorder.drain()
    assert len(client.attempts) == 2
    assert logged == []


async def test_cancelling_while_an_event_is_sent_leaves_no_count_behind(recorder, record, client, running, settled):
    client.refusals = [ServerError("down", status=500)]
    record()
    await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.wait_for(recorder.drain(), 1)


async def test_events_that_cannot_be_sent_hold_up_the_end_for_two_seconds(recorder, record, clock):
    """Nothing sends here: as when the API server is away."""
    record()
    before = clock.monotonic()
    await recorder.stop()
    assert clock.monotonic() - before == pytest.approx(2.0)
