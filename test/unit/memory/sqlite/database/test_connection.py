"""Functions on the thread of a connection, and what their receivers get."""

import asyncio
import threading

import pytest

from swarm_operator.memory.core.errors import StoreClosedError
from swarm_operator.memory.sqlite.database.connection import Worker


@pytest.fixture
async def worker(tmp_path):
    worker = await Worker.open(tmp_path / "db")
    yield worker
    await worker.close()


class Order:
    """A receiver that notes what it gets."""

    def __init__(self, noted):
        self.noted = noted
        self.got = asyncio.Event()

    def done(self):
        return False

    def set_result(self, result):
        self.noted.append(result)
        self.got.set()

    set_exception = set_result


async def test_a_receiver_gets_the_result_or_the_exception(worker):
    noted = []
    receivers = [Order(noted) for _ in range(2)]
    worker.start(lambda db: db.execute("SELECT 7").fetchone()[0], receivers[0])
    worker.start(lambda _: 1 / 0, receivers[1])
    for receiver in receivers:
        await receiver.got.wait()
    assert noted[0] == 7
    assert isinstance(noted[1], ZeroDivisionError)


async def test_the_receiver_is_called_when_a_task_that_waits_has_yet_to_go_on(worker):
    """The results of both arrive in one turn of the event loop, that of the task first."""
    noted, receiver, both = [], Order([]), threading.Event()
    receiver.noted = noted

    async def wait():
        noted.append(await worker.run(lambda _: "task"))

    def last(_db):
        both.set()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    worker.start(lambda _: "receiver", receiver)
    worker.start(last, Order([]))
    both.wait(30)  # the event loop stands still until both results are there
    await task
    assert noted == ["receiver", "task"]


async def test_what_nobody_waits_for_is_not_given(worker):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    cancelled = asyncio.ensure_future(worker.run(lambda _: 1))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await worker.run(lambda _: 2) == 2
    assert cancelled.cancelled()
    assert not reported


async def test_functions_wait_for_the_end_of_a_suspension(worker, tmp_path):
    noted, receiver = [], Order([])
    receiver.noted = noted
    await worker.suspend()
    worker.start(lambda db: db.execute("PRAGMA database_list").fetchone()[2], receiver)
    waiting = asyncio.ensure_future(worker.run(lambda _: "waits"))
    cancelled = asyncio.ensure_future(worker.run(lambda _: noted.append("cancelled")))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.sleep(0)
    assert not noted
    worker.resume(await Worker.open(tmp_path / "other"))
    assert await waiting == "waits"
    assert noted == [str(tmp_path / "other")]
    assert cancelled.cancelled()


async def test_functions_fail_when_a_suspension_ends_without_a_connection(worker):
    receiver = Order([])
    await worker.suspend()
    worker.start(lambda _: 1, receiver)
    worker.resume(None)
    assert [type(each) for each in receiver.noted] == [StoreClosedError]
    with pytest.raises(StoreClosedError):
        worker.start(lambda _: 1, receiver)
    with pytest.raises(StoreClosedError):
        await worker.run(lambda _: 1)
