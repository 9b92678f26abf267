import asyncio
import copy
import itertools

import pytest

from swarm_operator.runtime.errors import ConflictError, NotFoundError, ServerError
from swarm_operator.runtime.leader_election import LeaderElector, LeadershipLostError, check_times

pytestmark = pytest.mark.virtual_time


class LeaseServer:
    """Keeps one Lease, with optimistic locking; may be told to refuse or to hang."""

    def __init__(self):
        self.lease = None
        self.version = 0
        self.refusal = None
        self.hangs = False
        self.resists = False
        """Whether a request that hangs goes on hanging when it is cancelled."""
        self.goes_on = asyncio.Event()
        self.slowness = 0.0
        self.reads = []
        self.writes = []

    async def _answer(self):
        while self.hangs and not self.goes_on.is_set():
            try:
                await self.goes_on.wait()
            except asyncio.CancelledError:
                if not self.resists:
                    raise
        if self.refusal:
            raise self.refusal

    async def get(self, resource, namespace, name):
        self.reads.append(asyncio.get_running_loop().time())
        await self._answer()
        if self.lease is None:
            raise NotFoundError("no lease", status=404)
        return copy.deepcopy(self.lease)

    async def create(self, resource, obj, *, field_manager):
        await self._answer()
        if self.lease is not None:
            raise ConflictError("exists", status=409)
        return self._store(obj)

    async def update(self, resource, obj, *, field_manager):
        await self._answer()
        if obj["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError("changed", status=409)
        stored = self._store(obj)
        await asyncio.sleep(self.slowness)
        return stored

    def _store(self, obj):
        self.version += 1
        self.lease = copy.deepcopy(obj)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        self.writes.append(asyncio.get_running_loop().time())
        return copy.deepcopy(self.lease)

    @property
    def spec(self):
        return self.lease["spec"]


@pytest.fixture
def leases():
    return LeaseServer()


@pytest.fixture
def candidate(leases, clock, name, metrics):
    def make(identity="one", **options):
        return LeaderElector(leases, "ns", name, identity, clock=clock, metrics=metrics, **options)

    return make


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 2.4, 2), (15, 10, 0), (15, 15, 2), (5, 10, 2)])
def test_times_that_do_not_fit_each_other_are_refused(times, candidate):
    with pytest.raises(ValueError, match="lease duration > renew deadline"):
        check_times(*times)
    with pytest.raises(ValueError, match="lease duration > renew deadline"):
        candidate(lease_duration=times[0], renew_deadline=times[1], retry_period=times[2])


async def test_the_first_candidate_becomes_the_leader_at_once(candidate, leases, background, settled, name, sample):
    one = candidate()
    assert sample("leader_election_master_status", name=name) == 0
    assert not one.is_leading()
    background(one.run())
    await settled()
    assert one.elected.is_set()
    assert one.is_leading()
    assert sample("leader_election_master_status", name=name) == 1
    assert leases.spec == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-23T12:00:00.000000Z",
        "renewTime": "2026-11-23T12:00:00.000000Z",
        "leaseTransitions": 0,
    }


async def test_the_leader_renews_and_the_other_stands_by(candidate, leases, background, clock):
    one, two = candidate("one"), candidate("two")
    background(one.run())
    await clock.sleep(0.1)
    background(two.run())
    await clock.sleep(300)
    assert one.is_leading()
    assert not two.elected.is_set()
    assert leases.spec["holderIdentity"] == "one"
    assert leases.spec["acquireTime"] == "2026-11-23T12:00:00.000000Z"
    assert leases.writes[1:4] == pytest.approx([2.0, 4.0, 6.0])


async def test_a_leader_that_died_is_followed_when_its_lease_has_not_changed_for_its_duration(
    candidate, leases, background, clock
):
    running = background(candidate("one").run())
    await clock.sleep(0.1)
    two = candidate("two")
    background(two.run())
    await clock.sleep(10)
    running.cancel()
    died = leases.writes[-1]
    await asyncio.wait_for(two.elected.wait(), 60)
    assert 15.0 <= clock.monotonic() - died <= 15.0 + 2 * 2.4
    assert (leases.spec["holderIdentity"], leases.spec["leaseTransitions"]) == ("two", 1)


async def test_the_times_in_the_lease_are_not_believed(candidate, leases, background, clock, settled):
    """The leader's clock is an hour behind: its lease is not for that reason over."""
    background(candidate("one").run())
    await settled()
    leases.lease["spec"]["renewTime"] = "2026-11-23T11:00:00.000000Z"
    two = candidate("two")
    background(two.run())
    await clock.sleep(1)
    assert not two.elected.is_set()


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
async def test_a_leader_that_cannot_renew_stops_leading_at_the_deadline(
    candidate, leases, background, clock, fault, name, sample
):
    one = candidate()
    running = background(one.run())
    await clock.sleep(3)
    renewed = leases.writes[-1]
    if fault == "hangs":
        leases.hangs = True
    else:
        leases.refusal = ServerError("down", status=500)
    await clock.sleep(renewed + 9.9 - clock.monotonic())
    assert one.is_leading()
    await clock.sleep(0.11)
    assert not one.is_leading(), "by the clock alone"
    with pytest.raises(LeadershipLostError):
        await asyncio.wait_for(running, 2.5)
    assert sample("leader_election_master_status", name=name) == 0


async def test_the_deadline_is_counted_from_the_beginning_of_a_renewal(candidate, leases, background, clock):
    """Others count from the write, which may be seconds before its response."""
    one = candidate()
    background(one.run())
    await clock.sleep(1)
    leases.slowness = 3.0
    await clock.sleep(4.5)
    (_, renewed) = leases.writes
    assert renewed == pytest.approx(2.0)
    leases.refusal = ServerError("down", status=500)
    await clock.sleep(renewed + 9.9 - clock.monotonic())
    assert one.is_leading()
    await clock.sleep(0.2)
    assert not one.is_leading()


async def test_a_hung_renewal_does_not_take_the_lease_later(candidate, leases, background, clock):
    """Otherwise it could take the lease from the next leader, or after the release."""
    one = candidate()
    running = background(one.run())
    await clock.sleep(3)
    leases.hangs = True
    with pytest.raises(LeadershipLostError):
        await asyncio.wait_for(running, 60)
    written = len(leases.writes)
    leases.hangs = False
    leases.goes_on.set()
    await clock.sleep(60)
    assert len(leases.writes) == written
    assert not one.is_leading()


@pytest.mark.parametrize("resists", [False, True])
async def test_an_attempt_that_outlives_its_cancelled_run_does_not_take_the_lease_back(
    candidate, leases, background, clock, settled, resists
):
    """A renewal that finds the lease changed reads it and takes it, if it is free: after the release it is."""
    one = candidate()
    running = background(one.run())
    await clock.sleep(1)
    leases.hangs, leases.resists = True, resists
    await clock.sleep(2)
    running.cancel()
    await asyncio.wait([running])
    leases.hangs = False
    await one.close()
    leases.goes_on.set()
    await settled()
    assert leases.spec["holderIdentity"] == ""
    assert not one.is_leading()


async def test_a_cancelled_run_leaves_no_attempt_behind(candidate, leases, background, clock, settled):
    before = asyncio.all_tasks()
    running = background(candidate().run())
    await clock.sleep(1)
    leases.hangs = True
    await clock.sleep(2)
    running.cancel()
    await settled()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("when", ["acquiring", "renewing"])
async def test_an_unforeseen_error_of_an_attempt_ends_the_election(candidate, leases, background, clock, when):
    """The manager ends the process for it. Swallowed, it would look like an API server that is away."""
    if when == "acquiring":
        leases.refusal = LookupError("a bug")
    running = background(candidate().run())
    await clock.sleep(1)
    leases.refusal = LookupError("a bug")
    with pytest.raises(LookupError, match="a bug"):
        await asyncio.wait_for(running, 30)


async def test_a_fractional_lease_duration_is_rounded_up(candidate, leases, background, settled):
    """Other candidates must not take over before the lease ends."""
    background(candidate(lease_duration=15.1).run())
    await settled()
    assert leases.spec["leaseDurationSeconds"] == 16


class Dice:
    """A source of random numbers that returns the given ones."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self):
        return self.numbers.pop(0)


async def test_pauses_of_candidates_are_jittered(candidate, leases, background, clock):
    """A pause is the retry period plus up to a fifth of it."""
    background(candidate("one").run())
    await clock.sleep(0.1)
    leases.reads.clear()
    background(candidate("two", rng=Dice(0.0, 0.5, 1.0, 0.25)).run())
    await clock.sleep(8)
    tries = leases.reads
    assert [after - before for before, after in itertools.pairwise(tries)] == pytest.approx([2.0, 2.2, 2.4])


async def test_one_failed_renewal_is_made_up_for(candidate, leases, background, clock):
    one = candidate()
    running = background(one.run())
    await clock.sleep(1)
    leases.refusal = ServerError("down", status=500)
    await clock.sleep(5)
    leases.refusal = None
    await clock.sleep(60)
    assert one.is_leading()
    assert not running.done()


async def test_a_lease_that_was_released_is_taken_without_waiting_for_its_end(candidate, leases, background, clock):
    one, two = candidate("one"), candidate("two")
    running = background(one.run())
    await clock.sleep(0.1)
    background(two.run())
    await clock.sleep(10)
    running.cancel()
    await one.close()
    assert not one.is_leading()
    released = clock.monotonic()
    await asyncio.wait_for(two.elected.wait(), 60)
    assert clock.monotonic() - released <= 2.4


async def touched(leases):
    """Write to the lease as another client, for example kubectl annotate."""
    await leases.update(None, await leases.get(None, "ns", "x"), field_manager="somebody")


async def test_a_release_is_retried_after_a_conflict(candidate, leases, background, settled):
    one = candidate()
    running = background(one.run())
    await settled()
    running.cancel()
    await touched(leases)
    await one.close()
    assert leases.spec["holderIdentity"] == ""


async def test_a_release_leaves_the_lease_of_another_holder_alone(candidate, leases, background, settled):
    one = candidate()
    running = background(one.run())
    await settled()
    running.cancel()
    leases.spec["holderIdentity"] = "two"
    await touched(leases)
    await one.close()
    assert leases.spec["holderIdentity"] == "two"


async def test_only_the_holder_releases(candidate, leases, background, settled):
    background(candidate("one").run())
    await settled()
    two = candidate("two")
    await two.close()
    await two._read()
    await two.close()
    assert leases.spec["holderIdentity"] == "one"


async def test_a_release_that_fails_is_no_error(candidate, leases, background, settled):
    one = candidate()
    running = background(one.run())
    await settled()
    running.cancel()
    leases.refusal = ServerError("down", status=500)
    await one.close()
    assert not one.is_leading()


async def test_of_two_candidates_that_write_at_once_one_wins(candidate, leases, background, clock):
    candidates = [candidate(str(number)) for number in range(5)]
    for each in candidates:
        background(each.run())
    await clock.sleep(60)
    assert [each.identity for each in candidates if each.is_leading()] == [leases.spec["holderIdentity"]]
