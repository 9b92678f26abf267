"""Client of the memory service: all its parts, and service-wide calls. See `entries` for entries, `swarm` for records.

async with MemoryClient("http://my-store:8080", token_file=Path("/etc/swarm-memory/token")) as memory:
    await memory.put("swarm:agents", "agent:1", {"status": "idle"})
    entry = await memory.get("swarm:agents", "agent:1")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from swarm_operator.memory.client import backup, records, swarm, watch
from swarm_operator.memory.client.backups import BackupsClient
from swarm_operator.memory.client.entries import EntriesClient
from swarm_operator.memory.client.errors import MemoryClientError
from swarm_operator.memory.client.models import Change, Readiness, Stats
from swarm_operator.memory.client.restores import RestoresClient
from swarm_operator.memory.client.retrying import RetryPolicy
from swarm_operator.memory.client.settings import SettingsClient
from swarm_operator.memory.client.transfer import TransferClient
from swarm_operator.memory.client.transport import Transport
from swarm_operator.memory.client.trust import Trust

_READYZ: Final = frozenset({200, 503})


class MemoryClient(EntriesClient):
    """Client of one service, over kept-alive connections. Use it as a context manager, in one event loop.

    Args:
        base_url: https://HOST:PORT or http://HOST:PORT.
        token: the bearer token.
        token_file: a file with the token, instead of `token`. The file is read on first use, and again when the service
            refuses the token, because tokens are rotated.
        ca_file: a file with the trusted CA certificates, in PEM; by default the system's. The file is read on first
            use, and again when the service's certificate is refused, because CAs are rotated.
        ca_data: the CA certificates themselves, instead of `ca_file`.
        timeout: seconds for one attempt, from connecting to the last byte of the response.
        connect_timeout: seconds for one attempt to connect.
        retry_for: seconds for which a failed request is retried, from its first attempt on; 0 disables retries.
        retries: maximum number of consecutive retries of a request or a watch; None for no limit.
        backoff: maximum seconds before the first retry. The maximum doubles with each retry, up to 1 s (a watch: 5 s).
        connections: maximum number of open connections.
        sleep: waits between attempts; replaceable for tests.

    Attributes:
        agents, tasks, patterns, consensus, leases, communications, coordination, metrics: the swarm's records.
        swarm: counts, export, import and cleanup of all records.
        backups: named backups at the service's destination.
        restores: restores of backups into the service.
        settings: settings that can be changed while the service runs.

    Raises:
        ValueError: `base_url` is not a URL of that form.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        ca_data: str | None = None,
        timeout: float = 10.0,
        connect_timeout: float = 1.0,
        retry_for: float = 15.0,
        retries: int | None = None,
        backoff: float = 0.1,
        connections: int = 100,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        transport = Transport(
            base_url, token=token, token_file=token_file, trust=Trust(ca_file, ca_data), timeout=timeout,
            connect_timeout=connect_timeout, connections=connections,
            policy=RetryPolicy(retries, retry_for, backoff, sleep),
        )  # fmt: skip
        self._transport = transport
        self.agents = records.AgentsClient(transport)
        self.tasks = swarm.TasksClient(transport)
        self.patterns = records.PatternsClient(transport)
        self.consensus = records.ConsensusClient(transport)
        self.leases = records.LeasesClient(transport)
        self.communications = records.CommunicationsClient(transport)
        self.coordination = swarm.CoordinationClient(transport)
        self.metrics = records.MetricsClient(transport)
        self.swarm = TransferClient(transport)
        self.backups = BackupsClient(transport)
        self.restores = RestoresClient(transport)
        self.settings = SettingsClient(transport)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    def watch(
        self,
        *,
        namespace: str | None = None,
        prefix: str = "",
        since: int | None = None,
        on_ready: Callable[[int], None] | None = None,
        silence: float = 45.0,
        retry_for: float | None = None,
    ) -> AsyncIterator[Change]:
        """Yield changes as they are committed, without end. A broken watch resumes after its last change.

        A watch survives restarts of the service: after a transient failure it reconnects until it succeeds. The first
            of several consecutive failures is logged as a warning.

        Args:
            namespace: only this namespace; None for all namespaces that the token may read.
            prefix: only keys with this prefix.
            since: `seq` of the last known change; None for changes from now on.
            on_ready: called with the position at which the watch starts or resumes. Later changes will be seen.
            silence: seconds without data or heartbeats after which the watch reconnects.
            retry_for: seconds without a connection after which the watch fails; None for never.

        Raises:
            MemoryGoneError: changes after the last one were discarded, or the database was replaced.
            MemoryClientError: a failure is not transient, or no attempt within `retry_for` succeeded.
        """
        return watch.watch(
            self._transport, namespace=namespace, prefix=prefix, since=since, on_ready=on_ready, idle_timeout=silence,
            retry_for=retry_for,
        )  # fmt: skip

    async def stats(self) -> Stats:
        """Return counts, sizes and settings of the service."""
        return await self._transport.request("GET", "/v1/stats", Stats.read)

    async def gc(self, *, timeout: float = 600.0) -> dict[str, Any]:
        """Delete expired entries and return free pages to the file system now. Requires the admin token.

        Args:
            timeout: seconds to wait for one attempt. The service continues after a timeout.

        Returns:
            `collected` entries, their `value_bytes`, `given_back_bytes`, `started_at`, `duration_seconds`.

        Raises:
            MemoryAuthError: 403 with the client token.
        """
        return await self._transport.request("POST", "/admin/gc", dict, timeout=timeout)

    async def backup(self, path: str | Path, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Back up the database online and download the backup. Requires the admin token.

        When this returns, the file is complete and durable. After an error there is no file.

        Args:
            path: the file to create; it must not exist.
            progress: called with the received and the total number of bytes during the download.

        Returns:
            The size of the backup in bytes.

        Raises:
            FileExistsError: the file exists. It is left unchanged.
            MemoryAuthError: 403 with the client token.
            MemoryBusyError: another backup is in progress.
            MemoryUnavailableError: the service did not respond, or the download was cut off or damaged.
            OSError: the file cannot be written.
        """
        return await backup.fetch(self._transport, path, progress=progress)

    async def ready(self) -> Readiness:
        """Call /readyz once. Never raises MemoryClientError: a service that does not respond is not ready."""
        transport = self._transport
        try:
            async with transport.send("GET", "/readyz", statuses=_READYZ, timeout=transport.timeout) as response:
                reason = await transport.read(response, lambda answer: str(answer["status"]))
                return Readiness(ready=response.status == 200, reason=reason)
        except MemoryClientError as error:
            return Readiness(ready=False, reason=str(error))
