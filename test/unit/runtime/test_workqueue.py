import asyncio
import itertools
import random
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from swarm_operator.runtime.metrics import Metrics
from swarm_operator.runtime.workqueue import LOW_PRIORITY, ShutDownError, WorkQueue

pytestmark = pytest.mark.virtual_time

METRICS = Metrics()  # of the queues of the machine, of which there are many


@pytest.fixture
def queue(name, clock, metrics):
    return WorkQueue(name, clock=clock, metrics=metrics)


async def taken(queue):
    """Everything that can be had now, in order, each marked done."""
    keys = []
    while len(queue):
        key, _ = await asyncio.wait_for(queue.get(), 1)
        keys.append(key)
        queue.done(key)
    return keys


async def test_keys_come_out_in_the_order_in_which_they_were_added(queue):
    for key in "cab":
        queue.add(key)
    assert await taken(queue) == list("cab")


async def test_a_key_added_twice_comes_out_once(queue):
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1
    assert await taken(queue) == ["a"]


async def test_a_higher_priority_comes_out_first_and_is_told(queue):
    queue.add("low", priority=LOW_PRIORITY)
    queue.add("normal")
    queue.add("high", priority=7)
    assert [await queue.get() for _ in range(3)] == [("high", 7), ("normal", 0), ("low", LOW_PRIORITY)]


async def test_a_raised_priority_puts_a_key_at_the_tail_of_the_new_level(queue):
    queue.add("a", priority=LOW_PRIORITY)
    queue.add("b")
    queue.add("a", priority=0)
    queue.add("c")
    assert await taken(queue) == ["b", "a", "c"]


async def test_a_lower_priority_changes_nothing(queue):
    queue.add("a", priority=5)
    queue.add("b", priority=5)
    queue.add("a", priority=1)
    assert await queue.get() == ("a", 5)


async def test_a_delayed_key_comes_out_when_its_time_has_come(queue, clock):
    queue.add("a", after=3.0)
    assert len(queue) == 0
    await queue.get()
    assert clock.monotonic() == pytest.approx(3.0)


async def test_a_key_without_delay_overtakes_those_that_wait(queue):
    queue.add("a", after=3.0)
    queue.add("b")
    assert await queue.get() == ("b", 0)


async def test_delayed_keys_come_out_in_the_order_of_their_times(queue, clock):
    for key, after in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        queue.add(key, after=after)
    await clock.sleep(5)
    assert await taken(queue) == ["a", "b", "c"]


async def test_a_key_that_became_ready_goes_before_one_that_is_added_later(queue, clock):
    queue.add("waited", after=1.0)
    await clock.sleep(2)
    queue.add("new")
    assert await taken(queue) == ["waited", "new"]


async def test_the_earliest_of_several_times_wins(queue, clock):
    queue.add("a", after=5.0)
    queue.add("a", after=2.0)
    queue.add("a", after=9.0)
    await queue.get()
    assert clock.monotonic() == pytest.approx(2.0)


async def test_the_highest_of_several_priorities_wins_while_waiting(queue):
    queue.add("a", after=5.0, priority=3)
    queue.add("a", after=2.0, priority=1)
    assert await queue.get() == ("a", 3)


async def test_a_higher_priority_does_not_shorten_the_wait(queue, clock):
    queue.add("a", after=5.0)
    queue.add("a", after=9.0, priority=3)
    assert await queue.get() == ("a", 3)
    assert clock.monotonic() == pytest.approx(5.0)


async def test_a_key_whose_time_was_moved_forward_comes_out_once(queue, clock):
    queue.add("a", after=5.0)
    queue.add("a")
    assert await taken(queue) == ["a"]
    await clock.sleep(10)
    assert len(queue) == 0


async def test_a_key_that_is_worked_on_is_not_handed_out(queue, background, settled):
    queue.add("a")
    await queue.get()
    queue.add("a")
    second = background(queue.get())
    await settled()
    assert not second.done()
    queue.done("a")
    assert await second == ("a", 0)


async def test_a_key_added_while_it_is_worked_on_is_handed_out_again(queue):
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    queue.done("a")
    assert await taken(queue) == ["a"]


async def test_a_key_that_was_not_added_again_is_not_handed_out_again(queue):
    queue.add("a")
    await queue.get()
    queue.done("a")
    assert len(queue) == 0


async def test_a_locked_key_does_not_hold_up_those_behind_it(queue):
    queue.add("a")
    await queue.get()
    queue.add("a", priority=9)
    queue.add("b")
    assert await queue.get() == ("b", 0)


async def test_a_key_that_falls_due_while_it_is_worked_on_comes_out_after_done(queue, clock, background, settled):
    queue.add("a")
    await queue.get()
    queue.add("a", after=1.0)
    await clock.sleep(2)
    second = background(queue.get())
    await settled()
    assert not second.done()
    queue.done("a")
    assert await second == ("a", 0)


async def test_each_waiting_getter_is_woken_for_a_key_of_its_own(queue, background, settled):
    getters = [background(queue.get()) for _ in range(3)]
    await settled()
    for key in "abc":
        queue.add(key)
    assert sorted(key for key, _ in await asyncio.gather(*getters)) == ["a", "b", "c"]


async def test_a_getter_that_is_cancelled_when_woken_loses_no_key(queue, background, settled):
    first, second = background(queue.get()), background(queue.get())
    await settled()
    queue.add("a")
    # The first has been woken but has not run: its cancellation arrives with the key.
    first.cancel()
    await settled()
    assert first.cancelled()
    assert await asyncio.wait_for(second, 30) == ("a", 0)


async def test_a_getter_that_is_cancelled_while_it_waits_takes_no_wake_up_with_it(queue, background, settled):
    first, second = background(queue.get()), background(queue.get())
    await settled()
    first.cancel()
    await settled()
    queue.add("a")
    assert await asyncio.wait_for(second, 30) == ("a", 0)


async def test_shutdown_releases_every_waiting_getter(queue, background, settled):
    getters = [background(queue.get()) for _ in range(3)]
    await settled()
    queue.shut_down()
    for outcome in await asyncio.gather(*getters, return_exceptions=True):
        assert isinstance(outcome, ShutDownError)


async def test_shutdown_drops_what_is_queued_and_what_is_added(queue):
    queue.add("a")
    queue.shut_down()
    queue.add("b")
    assert len(queue) == 1
    with pytest.raises(ShutDownError):
        await queue.get()


async def test_shutdown_leaves_no_timer_behind(queue, clock, background, settled):
    queue.add("a", after=1.0)
    waiting = background(queue.get())
    await settled()
    queue.shut_down()
    with pytest.raises(ShutDownError):
        await waiting
    assert clock.monotonic() == 0.0
    loop = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


async def test_a_key_under_way_can_be_finished_after_shutdown(queue):
    queue.add("a")
    await queue.get()
    queue.shut_down()
    queue.done("a")
    queue.refresh_metrics()


async def test_failures_back_off_from_5_ms_doubling_to_1000_s(queue):
    delays = [queue.add_rate_limited("a") for _ in range(30)]
    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert all(later == min(1000.0, 2 * earlier) for earlier, later in itertools.pairwise(delays))
    assert delays[-1] == 1000.0
    assert queue.failures("a") == 30


async def test_a_key_that_fails_for_ever_does_not_overflow(queue):
    for _ in range(2000):
        delay = queue.add_rate_limited("a")
    assert delay == 1000.0


async def test_the_back_off_of_one_key_is_not_that_of_another(queue):
    queue.add_rate_limited("a")
    queue.add_rate_limited("a")
    assert queue.add_rate_limited("b") == 0.005


async def test_forgetting_a_key_starts_its_back_off_over(queue):
    for _ in range(5):
        queue.add_rate_limited("a")
    queue.forget("a")
    assert queue.failures("a") == 0
    assert queue.add_rate_limited("a") == 0.005


async def test_forgetting_frees_what_is_kept_of_a_key(queue):
    for key in range(100):
        queue.add_rate_limited(key)
        queue.forget(key)
    assert len(queue._failures) == 0


async def test_a_server_s_wish_makes_the_back_off_longer_and_never_shorter(queue, clock):
    assert queue.add_rate_limited("a", at_least=7.0) == 7.0
    await queue.get()
    assert clock.monotonic() == pytest.approx(7.0)
    for _ in range(20):
        delay = queue.add_rate_limited("a", at_least=7.0)
    assert delay == 1000.0


async def test_asking_for_failures_keeps_nothing_of_an_unknown_key(queue):
    assert queue.failures("unknown") == 0
    assert "unknown" not in queue._failures


async def test_adds_count_keys_that_become_ready_and_retries_count_delayed_adds(queue, clock, name, sample):
    def counts():
        return [sample(f"workqueue_{kind}_total", name=name, controller=name) for kind in ("adds", "retries")]

    queue.add("a")
    queue.add("a")
    assert counts() == [1, 0]
    queue.add("b", after=1.0)
    assert counts() == [1, 1]
    await clock.sleep(2)
    assert counts() == [2, 1]


async def test_depth_is_counted_by_priority(queue, name, sample):
    def depth(priority):
        return sample("workqueue_depth", name=name, controller=name, priority=priority)

    queue.add("a", priority=LOW_PRIORITY)
    queue.add("b", priority=LOW_PRIORITY)
    queue.add("c", after=5)
    assert depth("-100") == 2
    queue.add("a")
    assert (depth("-100"), depth("0")) == (1, 1)
    await queue.get()
    assert (depth("-100"), depth("0")) == (1, 0)


async def test_the_times_in_the_queue_and_at_work_are_measured(queue, clock, name, sample):
    def total(kind):
        return sample(f"workqueue_{kind}_duration_seconds_sum", name=name, controller=name)

    queue.add("a", after=10.0)
    await clock.sleep(10)
    await clock.sleep(2)
    await queue.get()
    assert total("queue") == pytest.approx(2.0), "waiting for one's time is not waiting for a worker"
    await clock.sleep(3)
    queue.done("a")
    assert total("work") == pytest.approx(3.0)


async def test_work_in_progress_shows_in_the_gauges(queue, clock, name, sample):
    def gauge(metric):
        return sample(metric, name=name, controller=name)

    queue.add("a")
    await queue.get()
    await clock.sleep(2)
    queue.add("b")
    await queue.get()
    await clock.sleep(1)
    queue.refresh_metrics()
    assert gauge("workqueue_unfinished_work_seconds") == pytest.approx(4.0)
    assert gauge("workqueue_longest_running_processor_seconds") == pytest.approx(3.0)
    queue.done("a")
    queue.done("b")
    queue.refresh_metrics()
    assert gauge("workqueue_unfinished_work_seconds") == 0
    assert gauge("workqueue_longest_running_processor_seconds") == 0


@given(seed=st.integers(0, 2**32), workers=st.integers(1, 5), keys=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_workers_never_overlap_on_one_key_and_the_last_add_is_always_worked_off(virtual_loop, seed, workers, keys):
    rng = random.Random(seed)
    queue = WorkQueue("overlap")
    at_work, overlaps, wanted, worked_off = Counter(), [], Counter(), {}

    async def worker():
        while True:
            try:
                key, _ = await queue.get()
            except ShutDownError:
                return
            at_work[key] += 1
            if at_work[key] > 1:
                overlaps.append(key)
            state = wanted[key]
            await asyncio.sleep(rng.choice((0, 0, 0.5, 2)))
            worked_off[key] = state
            at_work[key] -= 1
            queue.done(key)
            if rng.random() < 0.1:
                queue.add_rate_limited(key)

    async def user():
        tasks = [asyncio.ensure_future(worker()) for _ in range(workers)]
        for _ in range(60):
            key = rng.randrange(keys)
            wanted[key] += 1
            queue.add(key, priority=rng.choice((LOW_PRIORITY, 0)), after=rng.choice((0, 0, 1)))
            await asyncio.sleep(rng.choice((0, 0.3)))
            if rng.random() < 0.1:
                doomed = asyncio.ensure_future(queue.get())
                await asyncio.sleep(0)
                doomed.cancel()
                await asyncio.gather(doomed, return_exceptions=True)
                if not doomed.cancelled():
                    queue.add(doomed.result()[0])
                    queue.done(doomed.result()[0])
        await asyncio.sleep(1000)
        queue.shut_down()
        await asyncio.gather(*tasks)

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        queue._clock = _clock_of(runner.get_loop())
        runner.run(user())
    assert overlaps == []
    assert worked_off == wanted


def _clock_of(loop):
    class Clock:
        monotonic = staticmethod(loop.time)

    return Clock()


class NaiveQueue:
    """The same guarantees, kept in the most obvious way: lists that are searched from end to end."""

    def __init__(self):
        self.now = 0.0
        self.turn = 0
        self.waiting = {}  # key: (time, priority)
        self.ready = {}  # key: (priority, turn)
        self.locked = set()

    def add(self, key, priority, after):
        if key in self.ready:
            old, _ = self.ready[key]
            if priority > old:
                self.make_ready(key, priority)
            return
        at = self.now + after
        if key in self.waiting:
            old_at, old = self.waiting[key]
            at, priority = min(at, old_at), max(priority, old)
            if at < old_at:
                del self.waiting[key]  # goes behind the others of its new time
        if at <= self.now:
            self.make_ready(key, priority)
        else:
            self.waiting[key] = at, priority

    def make_ready(self, key, priority):
        self.turn += 1
        self.ready[key] = priority, self.turn

    def set_time(self, now):
        self.now = now
        for key, (at, _) in sorted(self.waiting.items(), key=lambda item: item[1][0]):
            if at <= now:
                self.make_ready(key, self.waiting.pop(key)[1])

    def get(self):
        free = [(-priority, turn, key) for key, (priority, turn) in self.ready.items() if key not in self.locked]
        if not free:
            return None
        key = min(free)[2]
        self.locked.add(key)
        return key, self.ready.pop(key)[0]


class QueueMachine(RuleBasedStateMachine):
    """Does the same to a WorkQueue and to a NaiveQueue."""

    loop_factory = None

    @initialize()
    def start(self):
        self.runner = asyncio.Runner(loop_factory=self.loop_factory)
        self.loop = self.runner.get_loop()
        self.queue = WorkQueue("machine", clock=_clock_of(self.loop), metrics=METRICS)
        self.model = NaiveQueue()

    def teardown(self):
        self.runner.close()

    @rule(
        key=st.integers(0, 4),
        priority=st.sampled_from((LOW_PRIORITY, 0, 5)),
        after=st.sampled_from((0.0, 0.0, -1.0, 1.0, 1.37, 2.71, 5.03)),
    )
    def add(self, key, priority, after):
        self._in_loop(lambda: self.queue.add(key, priority=priority, after=after))
        self.model.add(key, priority, max(0.0, after))

    @rule(seconds=st.sampled_from((0.11, 1.01, 3.07)))
    def wait(self, seconds):
        self.runner.run(asyncio.sleep(seconds))
        self.model.set_time(self.loop.time())

    @rule()
    def get(self):
        expected = self.model.get()
        if expected is None:
            self._nothing_to_get()
        else:
            assert self.runner.run(self.queue.get()) == expected

    def _nothing_to_get(self):
        async def glance():
            getter = asyncio.ensure_future(self.queue.get())
            for _ in range(5):
                await asyncio.sleep(0)
            assert not getter.done()
            getter.cancel()
            await asyncio.gather(getter, return_exceptions=True)

        self.runner.run(glance())

    @precondition(lambda self: self.model.locked)
    @rule(data=st.data())
    def done(self, data):
        key = data.draw(st.sampled_from(sorted(self.model.locked)))
        self._in_loop(lambda: self.queue.done(key))
        self.model.locked.remove(key)

    @invariant()
    def as_many_are_ready(self):
        assert len(self.queue) == len(self.model.ready)

    def _in_loop(self, call):
        async def run():
            call()

        self.runner.run(run())


def test_the_queue_behaves_as_the_naive_one(virtual_loop):
    machine = type("Machine", (QueueMachine,), {"loop_factory": virtual_loop})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
