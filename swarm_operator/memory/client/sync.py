"""The synchronous client: the operations of MemoryClient for code without an event loop.

with SyncMemoryClient("http://my-store:8080", token_file=Path("/etc/swarm-memory/token")) as memory:
    memory.put("swarm:agents", "agent:1", {"status": "idle"})
    entry = memory.get("swarm:agents", "agent:1")

Each operation is defined once, by the asynchronous client. Here it is listed; its parameters and results are derived.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from swarm_operator.memory.client import swarm
from swarm_operator.memory.client.backups import BackupsClient
from swarm_operator.memory.client.client import MemoryClient
from swarm_operator.memory.client.loop_thread import LoopThread
from swarm_operator.memory.client.restores import RestoresClient
from swarm_operator.memory.client.settings import SettingsClient
from swarm_operator.memory.client.transfer import TransferClient

_C = TypeVar("_C")
_C_co = TypeVar("_C_co", covariant=True)
_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Facade(Generic[_C_co]):
    """Base class: an asynchronous client, and the thread that it runs in."""

    def __init__(self, target: _C_co, loop: LoopThread) -> None:
        self._target = target
        self._loop = loop


def _call(
    method: Callable[Concatenate[_C, _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate[_Facade[_C], _P], _R]:
    """Return the method that waits for the result of an asynchronous one."""

    @functools.wraps(method)
    def call(self: _Facade[_C], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return self._loop.run(method(self._target, *args, **kwargs))

    return call


def _stream(
    method: Callable[Concatenate[_C, _P], AsyncIterator[_R]],
) -> Callable[Concatenate[_Facade[_C], _P], Generator[_R, None, None]]:
    """Return the method that yields what an asynchronous one yields."""

    @functools.wraps(method)
    def stream(self: _Facade[_C], /, *args: _P.args, **kwargs: _P.kwargs) -> Generator[_R, None, None]:
        return self._loop.iterate(method(self._target, *args, **kwargs))

    return stream


def _same_parameters(
    _: Callable[_P, object],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, _P], None]]:
    """Give a constructor, for type checkers, the parameters of another one."""
    return lambda constructor: constructor


class SyncAgentsClient(_Facade[swarm.AgentsClient]):
    """`/v1/agents`."""

    register = _call(swarm.AgentsClient.register)
    heartbeat = _call(swarm.AgentsClient.heartbeat)
    deregister = _call(swarm.AgentsClient.deregister)
    get = _call(swarm.AgentsClient.get)
    list = _call(swarm.AgentsClient.list)
    iterate = _stream(swarm.AgentsClient.iterate)


class SyncTasksClient(_Facade[swarm.TasksClient]):
    """`/v1/tasks`."""

    create = _call(swarm.TasksClient.create)
    update = _call(swarm.TasksClient.update)
    delete = _call(swarm.TasksClient.delete)
    claim = _call(swarm.TasksClient.claim)
    claim_next = _call(swarm.TasksClient.claim_next)
    renew = _call(swarm.TasksClient.renew)
    release = _call(swarm.TasksClient.release)
    assign = _call(swarm.TasksClient.assign)
    complete = _call(swarm.TasksClient.complete)
    fail = _call(swarm.TasksClient.fail)
    set_status = _call(swarm.TasksClient.set_status)
    workload = _call(swarm.TasksClient.workload)
    get = _call(swarm.TasksClient.get)
    list = _call(swarm.TasksClient.list)
    iterate = _stream(swarm.TasksClient.iterate)


class SyncPatternsClient(_Facade[swarm.PatternsClient]):
    """`/v1/patterns`."""

    store = _call(swarm.PatternsClient.store)
    record_use = _call(swarm.PatternsClient.record_use)
    best = _call(swarm.PatternsClient.best)
    delete = _call(swarm.PatternsClient.delete)
    get = _call(swarm.PatternsClient.get)
    list = _call(swarm.PatternsClient.list)
    iterate = _stream(swarm.PatternsClient.iterate)


class SyncConsensusClient(_Facade[swarm.ConsensusClient]):
    """`/v1/consensus`."""

    propose = _call(swarm.ConsensusClient.propose)
    vote = _call(swarm.ConsensusClient.vote)
    close = _call(swarm.ConsensusClient.close)
    delete = _call(swarm.ConsensusClient.delete)
    get = _call(swarm.ConsensusClient.get)
    list = _call(swarm.ConsensusClient.list)
    iterate = _stream(swarm.ConsensusClient.iterate)


class SyncLeasesClient(_Facade[swarm.LeasesClient]):
    """`/v1/leases`."""

    claim = _call(swarm.LeasesClient.claim)
    renew = _call(swarm.LeasesClient.renew)
    release = _call(swarm.LeasesClient.release)
    get = _call(swarm.LeasesClient.get)


class SyncCommunicationsClient(_Facade[swarm.CommunicationsClient]):
    """`/v1/communications`."""

    send = _call(swarm.CommunicationsClient.send)
    read = _call(swarm.CommunicationsClient.read)


class SyncCoordinationClient(_Facade[swarm.CoordinationClient]):
    """`/v1/coordination`."""

    put = _call(swarm.CoordinationClient.put)
    get = _call(swarm.CoordinationClient.get)
    delete = _call(swarm.CoordinationClient.delete)


class SyncMetricsClient(_Facade[swarm.MetricsClient]):
    """`/v1/metrics`."""

    store = _call(swarm.MetricsClient.store)
    get = _call(swarm.MetricsClient.get)
    list = _call(swarm.MetricsClient.list)
    iterate = _stream(swarm.MetricsClient.iterate)


class SyncTransferClient(_Facade[TransferClient]):
    """`/v1/export`, `/v1/import`, `/v1/swarm` and `/admin/cleanup`."""

    stats = _call(TransferClient.stats)
    cleanup = _call(TransferClient.cleanup)
    export = _stream(TransferClient.export)
    import_ = _call(TransferClient.import_)


class SyncBackupsClient(_Facade[BackupsClient]):
    """`/admin/backups`."""

    make = _call(BackupsClient.make)
    get = _call(BackupsClient.get)
    list = _call(BackupsClient.list)
    verify = _call(BackupsClient.verify)
    wait = _call(BackupsClient.wait)
    delete = _call(BackupsClient.delete)


class SyncRestoresClient(_Facade[RestoresClient]):
    """`/admin/restores`."""

    ask = _call(RestoresClient.ask)
    get = _call(RestoresClient.get)
    list = _call(RestoresClient.list)
    wait = _call(RestoresClient.wait)


class SyncSettingsClient(_Facade[SettingsClient]):
    """`/admin/settings`."""

    get = _call(SettingsClient.get)
    change = _call(SettingsClient.change)


class SyncMemoryClient(_Facade[MemoryClient]):
    """MemoryClient without `await`: the same parameters, operations and errors. Use it as a context manager.

    Streams are generators: closing one, or leaving its loop early, ends the request. Several threads may share a
    client. Callbacks (`progress`, `on_ready`) are called in the client's own thread and cannot use the client.
    """

    @_same_parameters(MemoryClient)
    def __init__(self, *args: Any, **options: Any) -> None:
        client, loop = MemoryClient(*args, **options), LoopThread()
        super().__init__(client, loop)
        self.agents = SyncAgentsClient(client.agents, loop)
        self.tasks = SyncTasksClient(client.tasks, loop)
        self.patterns = SyncPatternsClient(client.patterns, loop)
        self.consensus = SyncConsensusClient(client.consensus, loop)
        self.leases = SyncLeasesClient(client.leases, loop)
        self.communications = SyncCommunicationsClient(client.communications, loop)
        self.coordination = SyncCoordinationClient(client.coordination, loop)
        self.metrics = SyncMetricsClient(client.metrics, loop)
        self.swarm = SyncTransferClient(client.swarm, loop)
        self.backups = SyncBackupsClient(client.backups, loop)
        self.restores = SyncRestoresClient(client.restores, loop)
        self.settings = SyncSettingsClient(client.settings, loop)

    def __enter__(self) -> Self:
        self._loop.start()
        self._loop.run(self._target.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._loop.run(self._target.__aexit__(kind, error, trace))
        finally:
            self._loop.stop()

    put = _call(MemoryClient.put)
    get = _call(MemoryClient.get)
    delete = _call(MemoryClient.delete)
    batch = _call(MemoryClient.batch)
    get_many = _call(MemoryClient.get_many)
    delete_range = _call(MemoryClient.delete_range)
    list = _call(MemoryClient.list)
    iterate = _stream(MemoryClient.iterate)
    namespaces = _stream(MemoryClient.namespaces)
    search = _call(MemoryClient.search)
    find = _stream(MemoryClient.find)
    watch = _stream(MemoryClient.watch)
    stats = _call(MemoryClient.stats)
    gc = _call(MemoryClient.gc)
    backup = _call(MemoryClient.backup)
    ready = _call(MemoryClient.ready)
