import asyncio
import random

import pytest

from swarm_operator.controllers.swarmcluster.github.calls import MAX_DELAY, Calls
from swarm_operator.controllers.swarmcluster.github.errors import GitHubError
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "hive")


class Line:
    """The other end: answers when it is let, or fails."""

    def __init__(self):
        self.asked = []
        self.error = None
        self.gate = asyncio.Event()

    async def __call__(self, request):
        self.asked.append(request)
        await self.gate.wait()
        if self.error:
            raise self.error
        return f"answer to {request}"


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def calls(line, clock):
    made = Calls(line, monotonic=clock.monotonic, rng=random.Random(1), most=2)
    made.ended = asyncio.Queue()
    made.enqueue = made.ended.put_nowait
    return made


async def test_a_pass_does_not_wait_and_is_told_when_it_ends(calls, line):
    assert (calls.ask(KEY, "a").answer, calls.ask(KEY, "a").delay) == (None, 0.0)
    line.gate.set()
    assert await calls.ended.get() == KEY
    assert calls.ask(KEY, "a").answer == "answer to a"
    assert line.asked == ["a"], "it is asked once"


async def test_failures_are_tried_again_ever_more_seldom(calls, line, clock):
    line.gate.set()
    line.error = GitHubError("GitHubUnavailable", "away")
    delays = []
    for count in range(1, 11):
        calls.ask(KEY, "a")
        await calls.ended.get()
        progress = calls.ask(KEY, "a")
        assert (progress.error, progress.failures, len(line.asked)) == (line.error, count, count)
        delays.append(progress.delay)
        clock.advance(progress.delay - 0.5)
        calls.ask(KEY, "a")
        assert len(line.asked) == count, "not before it is due"
        clock.advance(1)
    assert 10 <= delays[0] <= 12
    assert delays[:6] == sorted(delays[:6])
    assert MAX_DELAY <= delays[-1] <= MAX_DELAY * 1.2
    line.error = None
    calls.ask(KEY, "a")
    await calls.ended.get()
    assert calls.ask(KEY, "a").answer


async def test_a_server_that_asks_to_wait_is_left_alone_for_so_long(calls, line):
    line.gate.set()
    line.error = GitHubError("RateLimited", "wait", retry_after=3000)
    calls.ask(KEY, "a")
    await calls.ended.get()
    assert 3000 <= calls.ask(KEY, "a").delay <= 3600


async def test_another_request_is_due_now_and_ends_the_former(calls, line):
    line.error = GitHubError("RateLimited", "wait", retry_after=3000)
    calls.ask(KEY, "a")
    await asyncio.sleep(0)
    calls.ask(KEY, "b")
    line.error = None
    line.gate.set()
    await calls.ended.get()
    assert calls.ask(KEY, "b").answer == "answer to b"
    assert calls.ended.empty(), "nobody waits for the former"


async def test_what_is_forgotten_ends(calls, line):
    calls.ask(KEY, "a")
    await asyncio.sleep(0)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("github")]
    calls.forget(KEY)
    with pytest.raises(asyncio.CancelledError):
        await task
    calls.forget(KEY)


async def test_so_many_run_at_one_time(calls, line):
    for number in range(3):
        calls.ask(Key("ns", str(number)), number)
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(line.asked) == 2
    line.gate.set()
    for _ in range(3):
        await calls.ended.get()
    assert len(line.asked) == 3


async def test_a_bug_is_a_failure_whose_text_nobody_sees(calls, line, logged):
    line.gate.set()
    line.error = RuntimeError("ghs_secret")
    calls.ask(KEY, "a")
    await calls.ended.get()
    progress = calls.ask(KEY, "a")
    assert (progress.error.reason, str(progress.error)) == ("GitHubUnreachable", "the call failed: RuntimeError")
    assert "ghs_secret" not in str(logged)
