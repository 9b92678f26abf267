import asyncio
import threading

import pytest

from swarm_operator.runtime import stacks

SECRET = "s3cr3t-t0k3n"


@pytest.fixture
def dumped(logged):
    """Dumps, and returns the entries of one kind."""

    def dump(event):
        logged.clear()
        stacks.dump()
        return [entry for entry in logged if entry["event"] == event]

    return dump


async def innermost(event):
    await event.wait()


async def outermost(token):
    await innermost(asyncio.Event())
    return token


async def test_a_task_s_stack_goes_down_to_what_it_waits_for(background, settled, dumped):
    background(outermost(SECRET)).set_name("the waiting one")
    await settled()
    (entry,) = [entry for entry in dumped("stack of tasks") if "the waiting one" in entry["tasks"]]
    assert entry["log_level"] == "warning"
    places = [line.strip() for line in entry["stack"].splitlines()]
    assert "await innermost(asyncio.Event())" in places
    assert places.index("await innermost(asyncio.Event())") < places.index("await event.wait()")
    assert any("asyncio/locks.py" in place for place in places)


async def test_tasks_with_equal_stacks_share_an_entry(background, settled, dumped):
    for number in range(30):
        background(outermost(SECRET)).set_name(f"equal-{number:02}")
    await settled()
    (entry,) = [entry for entry in dumped("stack of tasks") if "equal-00" in entry["tasks"]]
    assert (entry["count"], len(entry["tasks"])) == (30, 10)


async def test_each_thread_has_an_entry(dumped):
    over, started = threading.Event(), threading.Event()

    def work():
        started.set()
        over.wait()

    thread = threading.Thread(target=work, name="the busy one")
    thread.start()
    started.wait()
    try:
        entries = {entry["thread"]: entry["stack"] for entry in dumped("stack of a thread")}
    finally:
        over.set()
        thread.join()
    assert "over.wait()" in entries["the busy one"]
    assert "stacks.dump()" in entries["MainThread"]


async def test_values_are_not_logged(background, settled, dumped, logged):
    background(outermost(SECRET))
    await settled()
    assert dumped("stack of tasks")
    assert SECRET not in str(logged)


async def test_a_task_that_waits_for_a_generator_or_has_not_begun_has_a_stack_too(background, settled, dumped):
    async def numbers():
        await asyncio.Event().wait()
        yield 1

    async def count():
        async for _ in numbers():
            pass

    background(count()).set_name("counting")
    await settled()
    background(innermost(asyncio.Event())).set_name("not begun")
    entries = {name: entry["stack"] for entry in dumped("stack of tasks") for name in entry["tasks"]}
    assert "async for _ in numbers()" in entries["counting"]
    assert "in innermost" in entries["not begun"]
