"""Large work runs beside the event loop, one piece at a time, and gives way to the loop quickly."""

import asyncio
import sys
import threading

import pytest

from swarm_operator.memory.core.threads import run_on_thread


async def test_work_runs_one_after_another_on_another_thread():
    running, most = set(), []
    go = threading.Event()

    def work(number):
        running.add(number)
        most.append((len(running), threading.get_ident()))
        assert go.wait(60)
        running.discard(number)
        return number

    tasks = [asyncio.create_task(run_on_thread(work, number)) for number in range(3)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*tasks) == [0, 1, 2]
    assert {count for count, _ in most} == {1}
    assert threading.get_ident() not in {thread for _, thread in most}


async def test_other_threads_get_their_turn_sooner_while_it_works():
    usual = sys.getswitchinterval()
    assert await run_on_thread(sys.getswitchinterval) < usual / 5
    with pytest.raises(ZeroDivisionError):
        await run_on_thread(divmod, 1, 0)
    assert sys.getswitchinterval() == usual
