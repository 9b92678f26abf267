import asyncio
import threading
import time

import pytest

from swarm_operator.runtime.loop_lag import LoopMonitor


@pytest.fixture
def buckets(sample):
    """Samples so far, and those of at most 25 ms."""
    lag = "asyncio_event_loop_lag_seconds"
    return lambda: (sample(f"{lag}_count"), sample(f"{lag}_bucket", le="0.025"))


class SlowClock:
    """Each sleep lasts longer than asked for."""

    def __init__(self, late):
        self.seconds, self.late, self.slept = 0.0, late, 0

    def monotonic(self):
        return self.seconds

    async def sleep(self, seconds):
        self.slept += 1
        if self.slept > 10:
            await asyncio.Event().wait()
        self.seconds += seconds + self.late
        await asyncio.sleep(0)


@pytest.mark.parametrize(("late", "good"), [(0.0, 10), (0.02, 10), (0.03, 0), (3.0, 0)])
async def test_the_lag_is_how_much_later_a_sleep_ended_than_asked_for(
    background, settled, metrics, buckets, late, good
):
    before = buckets()
    background(LoopMonitor(clock=SlowClock(late), metrics=metrics).run())
    await settled()
    assert [now - then for now, then in zip(buckets(), before, strict=True)] == [10, good]


async def test_the_tasks_that_have_not_ended_are_counted(background, settled, metrics, sample):
    for _ in range(7):
        background(asyncio.Event().wait())
    background(LoopMonitor(clock=SlowClock(0.0), metrics=metrics).run())
    await settled()
    assert sample("asyncio_tasks") == len(asyncio.all_tasks()) >= 9


def hold_the_loop_up(until):
    """Blocking on purpose."""
    deadline = time.monotonic() + 10
    while not until() and time.monotonic() < deadline:
        time.sleep(0.005)


async def test_a_loop_that_hangs_is_told_once_with_what_it_hangs_in(background, settled, logged):
    background(LoopMonitor(interval=0.01, stuck_seconds=0.05).run())
    await settled()
    assert logged == []
    hold_the_loop_up(lambda: logged)
    started = time.monotonic()
    hold_the_loop_up(lambda: time.monotonic() > started + 0.2)
    (entry,) = logged
    assert (entry["event"], entry["log_level"]) == ("the event loop hangs", "error")
    assert "hold_the_loop_up" in entry["stack"]


async def test_it_is_told_again_when_the_loop_hangs_again(background, settled, logged):
    sampled = asyncio.Event()

    class Telling(SlowClock):
        async def sleep(self, seconds):
            await asyncio.sleep(seconds)
            sampled.set()

    background(LoopMonitor(interval=0.01, stuck_seconds=0.05, clock=Telling(0.0)).run())
    await settled()
    hold_the_loop_up(lambda: logged)
    sampled.clear()
    await sampled.wait()
    await settled()
    hold_the_loop_up(lambda: len(logged) == 2)
    assert len(logged) == 2


async def test_its_thread_ends_with_it(background, settled):
    others = set(threading.enumerate())  # that of the test before may be about to end
    task = background(LoopMonitor(interval=0.01, stuck_seconds=0.05).run())
    await settled()
    (thread,) = [thread for thread in set(threading.enumerate()) - others if thread.name == "loop watchdog"]
    task.cancel()
    await asyncio.wait([task])
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
