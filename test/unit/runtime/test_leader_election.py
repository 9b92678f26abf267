import asyncio
import copy

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
        self.writes = []

    async def _answer(self):
        if self.hangs:
            await asyncio.Event().wait()
        if self.refusal:
            raise self.refusal

    async def get(self, resource, namespace, name):
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
        return self._store(obj)

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
def candidate(leases, clock, name):
    def make(identity="one", **options):
        return LeaderElector(leases, "ns", name, identity, clock=clock, **options)

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
    await one.release()
    assert not one.is_leading()
    released = clock.monotonic()
    await asyncio.wait_for(two.elected.wait(), 60)
    assert clock.monotonic() - released <= 2.4


async def test_only_the_holder_releases(candidate, leases, background, settled):
    background(candidate("one").run())
    await settled()
    two = candidate("two")
    await two.release()
    await two._read()
    await two.release()
    assert leases.spec["holderIdentity"] == "one"


async def test_a_release_that_fails_is_no_error(candidate, leases, background, settled):
    one = candidate()
    running = background(one.run())
    await settled()
    running.cancel()
    leases.refusal = ServerError("down", status=500)
    await one.release()
    assert not one.is_leading()


async def test_of_two_candidates_that_write_at_once_one_wins(candidate, leases, background, clock):
    candidates = [candidate(str(number)) for number in range(5)]
    for each in candidates:
        background(each.run())
    await clock.sleep(60)
    assert [each.identity for each in candidates if each.is_leading()] == [leases.spec["holderIdentity"]]
