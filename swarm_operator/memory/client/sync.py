"""The synchronous client: the operations of MemoryClient for code without an event loop.

with SyncMemoryClient("http://my-store:8080", token_file=Path("/etc/swarm-memory/token")) as memory:
    memory.put("swarm:agents", "agent:1", {"status": "idle"})
    entry = memory.get("swarm:agents", "agent:1")

The asynchronous client defines each operation. This module lists the operations; parameters and results are derived.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self

from swarm_operator.memory.client import sync_records
from swarm_operator.memory.client.backups import BackupsClient
from swarm_operator.memory.client.client import MemoryClient
from swarm_operator.memory.client.facade import Facade, call, stream
from swarm_operator.memory.client.loop_thread import LoopThread
from swarm_operator.memory.client.restores import RestoresClient
from swarm_operator.memory.client.settings import SettingsClient
from swarm_operator.memory.client.transfer import TransferClient

_P = ParamSpec("_P")


def _same_parameters(
    _: Callable[_P, object],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, _P], None]]:
    """Give a constructor, for type checkers, the parameters of another one."""
    return lambda constructor: constructor


class SyncTransferClient(Facade[TransferClient]):
    """`/v1/export`, `/v1/import`, `/v1/swarm` and `/admin/cleanup`."""

    stats = call(TransferClient.stats)
    cleanup = call(TransferClient.cleanup)
    export = stream(TransferClient.export)
    import_ = call(TransferClient.import_)


class SyncBackupsClient(Facade[BackupsClient]):
    """`/admin/backups`."""

    make = call(BackupsClient.make)
    get = call(BackupsClient.get)
    list = call(BackupsClient.list)
    verify = call(BackupsClient.verify)
    wait = call(BackupsClient.wait)
    delete = call(BackupsClient.delete)


class SyncRestoresClient(Facade[RestoresClient]):
    """`/admin/restores`."""

    ask = call(RestoresClient.ask)
    get = call(RestoresClient.get)
    list = call(RestoresClient.list)
    wait = call(RestoresClient.wait)


class SyncSettingsClient(Facade[SettingsClient]):
    """`/admin/settings`."""

    get = call(SettingsClient.get)
    change = call(SettingsClient.change)


class SyncMemoryClient(Facade[MemoryClient]):
    """MemoryClient without `await`: the same parameters, operations and errors. Use it as a context manager.

    Streams are generators: closing one, or leaving its loop early, ends the request. Several threads may share a
    client. Callbacks (`progress`, `on_ready`) are called in the client's own thread and cannot use the client.
    """

    @_same_parameters(MemoryClient)
    def __init__(self, *args: Any, **options: Any) -> None:
        client, loop = MemoryClient(*args, **options), LoopThread()
        super().__init__(client, loop)
        self.agents = sync_records.SyncAgentsClient(client.agents, loop)
        self.tasks = sync_records.SyncTasksClient(client.tasks, loop)
        self.patterns = sync_records.SyncPatternsClient(client.patterns, loop)
        self.consensus = sync_records.SyncConsensusClient(client.consensus, loop)
        self.leases = sync_records.SyncLeasesClient(client.leases, loop)
        self.communications = sync_records.SyncCommunicationsClient(client.communications, loop)
        self.coordination = sync_records.SyncCoordinationClient(client.coordination, loop)
        self.metrics = sync_records.SyncMetricsClient(client.metrics, loop)
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

    put = call(MemoryClient.put)
    get = call(MemoryClient.get)
    delete = call(MemoryClient.delete)
    batch = call(MemoryClient.batch)
    get_many = call(MemoryClient.get_many)
    delete_range = call(MemoryClient.delete_range)
    list = call(MemoryClient.list)
    iterate = stream(MemoryClient.iterate)
    namespaces = stream(MemoryClient.namespaces)
    search = call(MemoryClient.search)
    find = stream(MemoryClient.find)
    watch = stream(MemoryClient.watch)
    stats = call(MemoryClient.stats)
    gc = call(MemoryClient.gc)
    backup = call(MemoryClient.backup)
    ready = call(MemoryClient.ready)
