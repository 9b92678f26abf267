"""SyncMemoryClient, against the real service."""

import asyncio
import gc
import inspect
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from swarm_operator.memory.client import (
    MemoryClient,
    MemoryConflictError,
    MemoryUnavailableError,
    SyncMemoryClient,
)
from swarm_operator.memory.client.facade import Facade

RECORDS = (
    "agents", "tasks", "patterns", "consensus", "leases", "communications", "coordination", "metrics", "swarm",
    "backups", "restores", "settings",
)  # fmt: skip


@pytest.fixture
async def run(service):
    """run(function): call it with a client of the service, in a thread, as code without an event loop would."""

    async def call(function, **options):
        def work():
            options.setdefault("token", (service.tokens / "client-token").read_text().strip())
            with SyncMemoryClient(f"http://127.0.0.1:{service.port}", **options) as memory:
                return function(memory)

        return await asyncio.to_thread(work)

    return call


def operations(client):
    return {
        name: method
        for name, method in inspect.getmembers(type(client), callable)
        if not name.startswith("_") and method is not type
    }


def test_each_operation_is_there_with_its_parameters_and_its_text():
    asynchronous, synchronous = MemoryClient("http://h"), SyncMemoryClient("http://h")
    pairs = [
        (asynchronous, synchronous),
        *((getattr(asynchronous, name), getattr(synchronous, name)) for name in RECORDS),
    ]
    assert {name for name, each in vars(asynchronous).items() if not name.startswith("_")} == set(RECORDS)
    counted = 0
    for theirs, ours in pairs:
        assert isinstance(ours, Facade)
        expected = operations(theirs)
        assert operations(ours).keys() == expected.keys()
        for name, method in expected.items():
            mine = operations(ours)[name]
            assert inspect.signature(mine).parameters == inspect.signature(method).parameters
            assert mine.__doc__ == method.__doc__
            counted += 1
    assert counted > 50


async def test_entries_make_the_round_trip(run):
    def work(memory):
        head = memory.put("n", "k", {"a": 1}, tags=["t"], ttl=60)
        assert (head.version, memory.get("n", "k").value, memory.get("n", "missing")) == (1, {"a": 1}, None)
        with pytest.raises(MemoryConflictError) as caught:
            memory.put("n", "k", 2, create_only=True)
        assert caught.value.current_version == 1
        for number in range(7):
            memory.put("m", f"k{number}", number)
        assert [entry.value for entry in memory.iterate("m", page=2)] == list(range(7))
        assert [each.name for each in memory.namespaces()] == ["m", "n"]
        assert [hit.key for hit in memory.find(namespace="n", tags=["t"])] == ["k"]
        assert memory.stats().entries == 8
        assert memory.ready().ready
        assert memory.delete("n", "k")
        assert not memory.delete("n", "k")
        with pytest.raises(ValueError, match="value: a set is not JSON"):
            memory.put("n", "k", {1})

    await run(work)


async def test_records_make_the_round_trip(run):
    def work(memory):
        memory.agents.register("a1", type="coder")
        task = memory.tasks.create(id="t1", description="x")
        assert memory.tasks.claim_next(agent="a1")["id"] == task["id"]
        assert memory.tasks.claim_next(agent="a1") is None
        assert memory.tasks.workload().in_flight == 1
        assert memory.tasks.complete("t1", agent="a1")["status"] == "completed"
        assert [each["id"] for each in memory.agents.iterate(type="coder")] == ["a1"]
        memory.coordination.put("k", [1])
        assert memory.coordination.get("k") == [1]
        memory.communications.send("hi", from_agent="a1")
        assert [each["message"] for each in memory.communications.read().messages] == ["hi"]
        memory.patterns.store("p", type="t")
        assert memory.patterns.best()[0]["id"] == "p"
        memory.metrics.store("m", type="t")
        assert memory.metrics.get("m")["id"] == "m"
        proposal = memory.consensus.propose(options=["yes", "no"])
        assert memory.consensus.get(proposal["id"])["id"] == proposal["id"]
        assert memory.leases.claim("queen", agent="a1")["term"] == memory.leases.get("queen")["term"] == 1
        lines = list(memory.swarm.export())
        assert memory.swarm.import_(lines)["unchanged"] == len(lines) - 2
        assert memory.swarm.stats()

    await run(work)


async def test_a_watch_is_an_iterator_that_may_be_left(run):
    def work(memory):
        positions = []
        for number in range(3):
            memory.put("n", f"k{number}", number)
        for change in memory.watch(namespace="n", since=0, on_ready=positions.append):
            if change.key == "k1":
                break
        assert positions == [0]
        changes = memory.watch(since=2)
        assert next(changes).key == "k2"
        # Nobody reads on, and nobody closes it.
        del changes, change
        gc.collect()
        return memory.put("n", "k3", 3).version

    # One connection would not do if those of the watches were kept.
    assert await run(work, connections=1) == 1


async def test_threads_share_a_client(run):
    def work(memory):
        with ThreadPoolExecutor(8) as threads:
            heads = list(threads.map(lambda number: memory.put("n", f"k{number}", number), range(64)))
            values = list(threads.map(lambda number: memory.get("n", f"k{number}").value, range(64)))
        assert {head.version for head in heads} == {1}
        assert values == list(range(64))

    await run(work)


async def test_a_callback_that_uses_the_client_is_refused_and_does_not_hang(run):
    def work(memory):
        memory.put("n", "k", 1)
        with pytest.raises(RuntimeError, match="a callback cannot use the client"):
            next(memory.watch(since=0, on_ready=lambda _: memory.get("n", "k")))

    await run(work)


def test_a_client_outside_its_context_says_how_to_use_it():
    memory = SyncMemoryClient("http://127.0.0.1:1", token="t", retries=0)
    for call in (lambda: memory.get("n", "k"), lambda: next(memory.watch())):
        with pytest.raises(RuntimeError, match="use SyncMemoryClient as a context manager"):
            call()
    for _ in range(2):  # it may be entered again
        with memory, pytest.raises(MemoryUnavailableError):
            memory.get("n", "k")
    assert not [thread for thread in threading.enumerate() if thread.name == "swarm-memory-client"]
    with pytest.raises(RuntimeError, match="context manager"):
        memory.get("n", "k")
    with pytest.raises(ValueError, match="base_url"):
        SyncMemoryClient("no url")


def test_an_interrupt_ends_the_call_and_what_it_runs():
    class InterruptError(Exception):
        pass

    def interrupt(*_):
        raise InterruptError

    def accept():
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            # The request is under way, and nobody answers it.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            while connection.recv(65_536):
                continue
            hung_up.set()

    former, hung_up = signal.signal(signal.SIGUSR1, interrupt), threading.Event()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            accepting = threading.Thread(target=accept)
            accepting.start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with SyncMemoryClient(url, token="t", timeout=100) as memory:
                with pytest.raises(InterruptError):
                    memory.get("n", "k")
                # The request ends with the call, and not with the client.
                assert hung_up.wait(60)
            accepting.join()
    finally:
        signal.signal(signal.SIGUSR1, former)


async def test_a_client_in_a_thread_with_an_event_loop_leaves_that_loop_alone(service):
    # As in a notebook. Nothing answers: the service runs in this loop, which the call blocks.
    before = asyncio.get_running_loop()
    with SyncMemoryClient("http://127.0.0.1:1", token="t", retries=0) as memory:
        assert not memory.ready().ready
    assert asyncio.get_running_loop() is before
