import asyncio
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.leader_election import LeadershipLostError
from swarm_operator.runtime.manager import Manager, TaskEndedError
from swarm_operator.runtime.resource import Key
from swarm_operator.runtime.runnable import Phase, Runnable
from swarm_operator.runtime.server import Server, health_app, metrics_app


class Part(Runnable):
    """Something that runs until it is cancelled, or as it is told, and writes down what is done with it."""

    def __init__(self, name, phase, journal):
        self.task_name, self.phase, self.journal = name, phase, journal
        self.fate = asyncio.get_running_loop().create_future()
        self.resource = SimpleNamespace(plural=name)
        self.synced = True
        self.finished = asyncio.Event()
        self.finished.set()
        self.elected = asyncio.Event()

    async def start(self):
        self.journal.append(f"{self.task_name} gets ready")

    async def run(self):
        self.journal.append(f"{self.task_name} starts")
        try:
            await self.fate
        finally:
            self.journal.append(f"{self.task_name} ends")

    async def stop(self):
        self.journal.append(f"{self.task_name} is told to stop")
        await self.finished.wait()

    async def close(self):
        self.journal.append(f"{self.task_name} closes")


@pytest.fixture
def journal():
    return []


@pytest.fixture
async def parts(journal):
    phases = {"informer": Phase.CACHES, "recorder": Phase.ALWAYS, "controller": Phase.LEADER}
    return SimpleNamespace(**{name: Part(name, phase, journal) for name, phase in phases.items()})


@pytest.fixture
async def elector(journal):
    return Part("elector", Phase.ELECTION, journal)


@pytest.fixture
def make(parts):
    def manager(*more, **options):
        made = Manager(SimpleNamespace(informers=[parts.informer]), **options)
        made.add(parts.controller, parts.recorder, *more)
        return made

    return manager


def starts(journal):
    return [entry for entry in journal if entry.endswith(" starts")]


@pytest.mark.virtual_time
class TestOrder:
    @pytest.fixture
    def stop(self):
        return asyncio.Event()

    async def test_it_runs_until_it_is_told_to_stop(self, make, journal, stop, background, settled):
        running = background(make().run(stop))
        await settled()
        assert starts(journal) == ["recorder starts", "informer starts", "controller starts"]
        assert not running.done()
        stop.set()
        await asyncio.wait_for(running, 30)

    async def test_a_part_starts_when_all_of_the_phases_before_are_ready(
        self, make, journal, stop, background, settled
    ):
        server = Part("server", Phase.SERVERS, journal)
        running = background(make(server).run(stop))
        await settled()
        names = ("server", "recorder", "informer", "controller")
        ready = [journal.index(f"{name} gets ready") for name in names]
        assert ready == sorted(ready)
        assert all(journal.index(f"{name} gets ready") < journal.index(f"{name} starts") for name in names)
        journal.clear()
        stop.set()
        await running
        assert journal[-3:] == ["server is told to stop", "server ends", "server closes"]

    async def test_a_part_that_cannot_start_ends_it_and_what_is_ready_is_closed(self, make, parts, journal, stop):
        async def broken():
            raise OSError("taken")

        parts.controller.start = broken
        with pytest.raises(OSError, match="taken"):
            await make().run(stop)
        assert [entry for entry in journal if entry.endswith(" closes")] == ["informer closes", "recorder closes"]
        assert "controller starts" not in journal

    async def test_controllers_stop_first_then_informers_then_the_rest(self, make, journal, stop, background, settled):
        running = background(make().run(stop))
        await settled()
        journal.clear()
        stop.set()
        await running
        assert journal == [
            *("controller is told to stop", "controller ends", "controller closes"),
            *("informer is told to stop", "informer ends", "informer closes"),
            *("recorder is told to stop", "recorder ends", "recorder closes"),
        ]

    @pytest.mark.parametrize("part", ["informer", "recorder", "controller"])
    @pytest.mark.parametrize("how", ["with an error", "quietly", "by being cancelled"])
    async def test_a_part_that_ends_by_itself_ends_everything(
        self, make, parts, journal, stop, background, settled, part, how
    ):
        manager = make()
        running = background(manager.run(stop))
        await settled()
        error = LookupError("broken") if how == "with an error" else None
        fate = getattr(parts, part).fate
        if how == "by being cancelled":
            fate.cancel()
        elif error:
            fate.set_exception(error)
        else:
            fate.set_result(None)
        with pytest.raises(TaskEndedError, match=f"{part}.* has ended") as caught:
            await running
        assert caught.value.__cause__ is error
        assert sorted(entry for entry in journal if entry.endswith(" ends")) == [
            "controller ends",
            "informer ends",
            "recorder ends",
        ]

    async def test_a_controller_that_will_not_end_is_cancelled_after_the_grace(
        self, make, parts, stop, background, settled, clock
    ):
        parts.controller.finished.clear()
        running = background(make(graceful_timeout=30.0).run(stop))
        await settled()
        stop.set()
        await running
        assert clock.monotonic() == pytest.approx(30.0)
        assert parts.controller.fate.cancelled()

    async def test_a_reconcile_under_way_is_finished_before_the_informers_stop(
        self, parts, journal, stop, background, settled, clock, name
    ):
        class Slow:
            async def reconcile(self, key):
                journal.append("reconcile starts")
                await clock.sleep(20)
                journal.append("reconcile ends")
                return Result()

        cache = Cache(None)
        controller = Controller(name, Slow(), cache, clock=clock)
        manager = Manager(SimpleNamespace(informers=[parts.informer]))
        manager.add(controller)
        running = background(manager.run(stop))
        controller.queue.add(Key("ns", "a"))
        await settled()
        stop.set()
        await running
        assert journal.index("reconcile ends") < journal.index("informer ends")
        assert clock.monotonic() == pytest.approx(20.0)

    async def test_controllers_start_when_this_process_is_the_leader_and_the_lease_goes_last(
        self, make, journal, elector, stop, background, settled
    ):
        running = background(make(elector=elector).run(stop))
        await settled()
        assert starts(journal) == ["elector starts", "recorder starts", "informer starts"]
        elector.elected.set()
        await settled()
        assert journal[-1] == "controller starts"
        journal.clear()
        stop.set()
        await running
        assert journal[0] == "controller is told to stop"
        assert journal[-2:] == ["elector ends", "elector closes"]

    async def test_a_process_that_stands_by_stops_at_once(self, parts, elector, stop, background, settled, clock, name):
        manager = Manager(SimpleNamespace(informers=[parts.informer]), elector=elector)
        manager.add(Controller(name, None, Cache(None), clock=clock))
        running = background(manager.run(stop))
        await settled()
        stop.set()
        await running
        assert clock.monotonic() == 0.0

    async def test_when_leadership_is_lost_nothing_is_finished(
        self, make, parts, elector, stop, background, settled, clock
    ):
        elector.elected.set()
        parts.controller.finished.clear()
        running = background(make(elector=elector, graceful_timeout=30.0).run(stop))
        await settled()
        elector.fate.set_exception(LeadershipLostError("lost"))
        with pytest.raises(TaskEndedError, match="elector has ended"):
            await running
        assert clock.monotonic() == 0.0
        assert parts.controller.fate.cancelled()

    async def test_stopping_before_the_first_list_takes_no_time(
        self, parts, stop, background, settled, clock, name, widgets
    ):
        cache = Cache(None)
        controller = Controller(name, None, cache, clock=clock)
        controller.watch(widgets)
        manager = Manager(SimpleNamespace(informers=[parts.informer]))
        manager.add(controller)
        running = background(manager.run(stop))
        await settled()
        stop.set()
        await running
        assert clock.monotonic() == 0.0

    async def test_cancelling_it_stops_everything_in_order_too(self, make, journal, stop, background, settled):
        running = background(make().run(stop))
        await settled()
        journal.clear()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert journal[0] == "controller is told to stop"
        assert journal[-1] == "recorder closes"

    async def test_it_is_ready_when_every_informer_is_synced(self, make, parts):
        manager = make()
        parts.informer.synced = False
        assert manager.readyz.run() == {"ping": None, "informers": "not listed yet: informer"}
        parts.informer.synced = True
        assert manager.readyz.run() == {"ping": None, "informers": None}


@pytest.fixture
def address(unused_tcp_port_factory):
    return "127.0.0.1", unused_tcp_port_factory()


@pytest.fixture
async def get():
    async with aiohttp.ClientSession() as session:

        async def ask(address, path):
            async with session.get(f"http://{address[0]}:{address[1]}{path}") as answer:
                return answer.status

        yield ask


async def test_health_and_metrics_are_served_before_anything_else_runs_and_until_all_has_ended(
    make, parts, address, unused_tcp_port_factory, get, background, settled
):
    stop, answers = asyncio.Event(), []
    metrics_address = "127.0.0.1", unused_tcp_port_factory()
    begun = asyncio.Event()

    async def run():
        answers.append(await get(address, "/healthz"))
        answers.append(await get(metrics_address, "/metrics"))
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            answers.append(await get(address, "/healthz"))

    parts.recorder.run = run
    manager = make(Server(metrics_app(CollectorRegistry()), metrics_address))
    manager.add(Server(health_app(manager.healthz, manager.readyz), address))
    running = background(manager.run(stop))
    await asyncio.wait_for(begun.wait(), 60)
    stop.set()
    await asyncio.wait_for(running, 60)
    assert answers == [200, 200, 200]
    with pytest.raises(aiohttp.ClientConnectionError):
        await get(address, "/healthz")


async def test_healthz_fails_from_the_moment_a_part_has_ended(make, parts, address, get, background):
    """The reconciles under way may take their time to end; nobody is to think that all is well meanwhile."""
    draining, drained = asyncio.Event(), parts.controller.finished
    drained.clear()

    async def drain():
        draining.set()
        await drained.wait()

    parts.controller.stop = drain
    manager = make()
    manager.add(Server(health_app(manager.healthz, manager.readyz), address))
    running = background(manager.run(asyncio.Event()))
    parts.informer.fate.set_exception(LookupError("broken"))
    await asyncio.wait_for(draining.wait(), 60)
    assert await get(address, "/healthz") == 500
    assert await get(address, "/healthz/ping") == 200
    drained.set()
    with pytest.raises(TaskEndedError, match="informer"):
        await running


async def test_an_address_that_is_taken_is_an_error_and_leaves_nothing_behind(
    make, journal, address, unused_tcp_port_factory
):
    first = "127.0.0.1", unused_tcp_port_factory()
    taken = await asyncio.start_server(lambda reader, writer: None, *address)
    async with taken:
        with pytest.raises(OSError, match="already in use"):
            await make(*(Server(web.Application(), where) for where in (first, address))).run(asyncio.Event())
    assert journal == []
    free = await asyncio.start_server(lambda reader, writer: None, *first)
    free.close()
    await free.wait_closed()
