"""Client of the memory service: entries and service-wide calls. See transport for retries, swarm for records.

async with MemoryClient("http://my-store:8080", token_file=Path("/etc/swarm-memory/token")) as memory:
    await memory.put("swarm:agents", "agent:1", {"status": "idle"})
    entry = await memory.get("swarm:agents", "agent:1")
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from swarm_operator.memory.client import backup, swarm, watch
from swarm_operator.memory.client.errors import MemoryAnswerError, MemoryClientError, MemoryServerError
from swarm_operator.memory.client.models import (
    BatchResult,
    Change,
    EntryHead,
    EntryPage,
    MemoryEntry,
    MemoryHit,
    Namespace,
    Readiness,
    SearchPage,
    Stats,
)
from swarm_operator.memory.client.transfer import TransferClient
from swarm_operator.memory.client.transport import Transport, json_object, to_json, url_path, with_query


class MemoryClient:
    """Client of one service, over kept-alive connections. Use it as a context manager, in one event loop.

    Args:
        base_url: http://HOST:PORT.
        token: the bearer token.
        token_file: a file with the token, instead of `token`. It is read on first use, and again when the service
            refuses the token, because tokens are rotated.
        timeout: seconds for one attempt, from connecting to the last byte of the response.
        retries: maximum number of retries; 0 disables them.
        backoff: maximum seconds before the first retry. The maximum doubles with each retry, up to 5 s.
        connections: maximum number of open connections.
        sleep: waits between attempts; replaceable for tests.

    Attributes:
        agents, tasks, patterns, consensus, communications, coordination, metrics: the swarm's records.
        swarm: counts, export, import and cleanup of all records.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        token_file: Path | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        backoff: float = 0.1,
        connections: int = 100,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        transport = Transport(
            base_url, token=token, token_file=token_file, timeout=timeout, retries=retries, backoff=backoff,
            connections=connections, sleep=sleep,
        )  # fmt: skip
        self._transport = transport
        self.agents = swarm.AgentsClient(transport)
        self.tasks = swarm.TasksClient(transport)
        self.patterns = swarm.PatternsClient(transport)
        self.consensus = swarm.ConsensusClient(transport)
        self.communications = swarm.CommunicationsClient(transport)
        self.coordination = swarm.CoordinationClient(transport)
        self.metrics = swarm.MetricsClient(transport)
        self.swarm = TransferClient(transport)

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def put(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl: int | None = None,
        create_only: bool = False,
        if_version: int | None = None,
    ) -> EntryHead:
        """Write an entry. When this returns, the entry is durable on the service's disk.

        Args:
            namespace: 1 to 255 bytes.
            key: 1 to 1024 bytes.
            value: any JSON value. None is stored as null.
            tags: at most 64.
            metadata: a JSON object.
            ttl: seconds until the entry expires; None or 0 for never.
            create_only: fail if the entry exists.
            if_version: fail unless the entry exists with this version.

        Raises:
            MemoryConflictError: a precondition failed.
            ValueError: `value` or `metadata` is not JSON.
        """
        document = {"value": value, "tags": list(tags or ()), "metadata": dict(metadata or {}), "ttl": ttl or 0}
        headers = _if_match(if_version) | ({"If-None-Match": "*"} if create_only else {})
        path = url_path("entries", namespace, key)
        return EntryHead(
            await self._transport.request("PUT", path, headers=headers, body=to_json(document), idempotent=not headers)
        )

    async def get(self, namespace: str, key: str) -> MemoryEntry | None:
        """Return an entry, or None if it does not exist."""
        answer = await self._transport.request("GET", url_path("entries", namespace, key), allow_not_found=True)
        return None if answer is None else MemoryEntry(answer)

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Delete an entry. Return False if it does not exist. `if_version` is that of `put`."""
        headers = _if_match(if_version)
        answer = await self._transport.request(
            "DELETE", url_path("entries", namespace, key), headers=headers, idempotent=not headers, allow_not_found=True
        )
        return answer is not None

    async def batch(self, operations: Sequence[Mapping[str, Any]], *, atomic: bool = True) -> list[BatchResult]:
        """Apply several operations in one request; its writes are one transaction, in order.

        Args:
            operations: at most 1000 of `{"op": "put", "namespace": ..., "key": ..., "value": ..., "tags": [...],
                "metadata": {...}, "ttl": ..., "create_only": ..., "if_version": ...}`, `{"op": "delete", ...,
                "if_version": ...}` and `{"op": "get", ...}`. A get sees the batch's own writes.
            atomic: apply all writes or none. False: each operation succeeds or fails on its own, as its result says.

        Returns:
            A result for each operation, in order.

        Raises:
            MemoryConflictError, MemoryRequestError: an atomic batch failed and nothing was written.
                `problem["index"]` is the index of the failed operation.
            ValueError: a value is not JSON.
        """
        document = {"atomic": atomic, "operations": [dict(operation) for operation in operations]}
        conditional = any(each.get("create_only") or each.get("if_version") is not None for each in operations)
        answer = await self._transport.request(
            "POST", url_path("batch"), body=to_json(document), idempotent=not conditional
        )
        return [
            BatchResult(
                status=result["status"],
                entry=MemoryEntry(result["entry"]) if "entry" in result else None,
                problem=result.get("problem"),
            )
            for result in answer["results"]
        ]

    async def get_many(self, identities: Sequence[tuple[str, str]]) -> list[MemoryEntry | None]:
        """Return the entries of at most 1000 (namespace, key) pairs, in order; None for each that does not exist."""
        operations = [{"op": "get", "namespace": namespace, "key": key} for namespace, key in identities]
        return [result.entry for result in await self.batch(operations)]

    async def delete_range(self, namespace: str, *, prefix: str, timeout: float = 600.0) -> int:
        """Delete all entries of a namespace whose keys have the prefix; "" deletes all. Return their number."""
        path = with_query("/v1/entries", namespace=namespace, prefix=prefix)
        return int((await self._transport.request("DELETE", path, timeout=timeout))["deleted"])

    async def list(self, namespace: str, *, prefix: str = "", limit: int = 100, cursor: str | None = None) -> EntryPage:
        """Return a page of a namespace's entries, sorted by key. `limit` is 1 to 1000; a page may be shorter."""
        path = with_query("/v1/entries", namespace=namespace, prefix=prefix, limit=limit, cursor=cursor)
        answer = await self._transport.request("GET", path)
        return EntryPage([MemoryEntry(entry) for entry in answer["entries"]], answer["next_cursor"])

    async def iterate(self, namespace: str, *, prefix: str = "", page: int = 100) -> AsyncIterator[MemoryEntry]:
        """Yield all entries of a namespace, page by page."""
        cursor: str | None = None
        while True:
            part = await self.list(namespace, prefix=prefix, limit=page, cursor=cursor)
            for entry in part.entries:
                yield entry
            if (cursor := part.next_cursor) is None:
                return

    async def namespaces(self) -> AsyncIterator[Namespace]:
        """Yield all namespaces that have entries and that the token may read, sorted by name, page by page."""
        cursor: str | None = None
        while True:
            answer = await self._transport.request("GET", with_query("/v1/namespaces", limit=1000, cursor=cursor))
            for each in answer["namespaces"]:
                yield Namespace(each["namespace"], each["entries"], each["bytes"])
            if (cursor := answer["next_cursor"]) is None:
                return

    async def search(
        self,
        *,
        namespace: str | None = None,
        subtree: bool = False,
        prefix: str = "",
        glob: str | None = None,
        tags: Sequence[str] = (),
        any_tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        updated_since: str | None = None,
        text: str | None = None,
        match: str | None = None,
        order: str | None = None,
        values: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> SearchPage:
        """Return a page of the entries that match all conditions.

        Args:
            namespace: the namespace; None for all namespaces that the token may read.
            subtree: also search the namespaces below: `a/b` is below `a`.
            prefix: prefix of the key.
            glob: pattern of the key, with `*`, `?` and `[abc]`.
            tags: tags that the entry has, all of them.
            any_tags: tags of which the entry has at least one.
            metadata: top-level fields and their values.
            updated_since: RFC 3339 time.
            text: words that all occur in the key or the value. `wor*` is a prefix, `"two words"` is a phrase.
            match: FTS5 expression, instead of `text`.
            order: key, updated (last written first) or rank (best match first, requires a text).
            values: False omits values and metadata from the response.
            limit: 1 to 1000; a page may be shorter.
            cursor: `next_cursor` of the previous page, with all other arguments unchanged.

        Raises:
            MemoryRequestError: an argument is invalid; `problem` names the field.
        """
        path = with_query(
            "/v1/search", namespace=namespace, subtree=subtree or None, prefix=prefix or None, glob=glob,
            tag=[*tags], any_tag=[*any_tags], updated_since=updated_since, text=text, match=match, order=order,
            metadata=json.dumps(dict(metadata), allow_nan=False) if metadata else None,
            values=None if values else False, limit=limit, cursor=cursor,
        )  # fmt: skip
        answer = await self._transport.request("GET", path)
        hits = [MemoryHit(entry) for entry in answer["entries"]]
        return SearchPage(hits, answer["next_cursor"], answer["searched"])

    async def find(self, **query: Any) -> AsyncIterator[MemoryHit]:
        """Yield all results of `search`, page by page. Takes the arguments of `search` except `cursor`."""
        cursor: str | None = None
        while True:
            page = await self.search(**query, cursor=cursor)
            for hit in page.hits:
                yield hit
            if (cursor := page.next_cursor) is None:
                return

    def watch(
        self,
        *,
        namespace: str | None = None,
        prefix: str = "",
        since: int | None = None,
        on_ready: Callable[[int], None] | None = None,
        silence: float = 45.0,
    ) -> AsyncIterator[Change]:
        """Yield changes as they are committed, without end. A broken watch resumes after its last change.

        Args:
            namespace: only this namespace; None for all namespaces that the token may read.
            prefix: only keys with this prefix.
            since: `seq` of the last known change; None for changes from now on.
            on_ready: called with the position at which the watch starts or resumes. Later changes will be seen.
            silence: seconds without data or heartbeats after which the watch reconnects.

        Raises:
            MemoryGoneError: changes after the last one were discarded, or the database was replaced.
            MemoryClientError: as for other calls, after `retries` failed attempts in a row.
        """
        return watch.watch(
            self._transport, namespace=namespace, prefix=prefix, since=since, on_ready=on_ready, idle_timeout=silence
        )

    async def stats(self) -> Stats:
        """Return counts, sizes and settings of the service."""
        raw = await self._transport.request("GET", "/v1/stats")
        try:
            return Stats(
                entries=raw["entries"],
                agents=raw["agents"],
                tasks=raw["tasks"],
                patterns=raw["patterns"],
                database_size_bytes=raw["database_size_bytes"],
                wal_size_bytes=raw["wal_size_bytes"],
                cache_hit_rate=raw["cache"]["hit_rate"],
                settings=raw["settings"],
                swarm_id=raw["swarm_id"],
                version=raw["version"],
                sqlite_version=raw["sqlite_version"],
                raw=raw,
            )
        except (KeyError, TypeError) as error:
            raise MemoryServerError(200, {"detail": f"these are no statistics of a memory: {error!r}"}) from error

    async def gc(self, *, timeout: float = 600.0) -> dict[str, Any]:
        """Delete expired entries and return free pages to the file system now. Requires the admin token.

        Args:
            timeout: seconds to wait for one attempt. The service continues after a timeout.

        Returns:
            `collected` entries, their `value_bytes`, `given_back_bytes`, `started_at`, `duration_seconds`.

        Raises:
            MemoryAuthError: 403 with the client token.
        """
        return dict(await self._transport.request("POST", "/admin/gc", timeout=timeout))

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
        try:
            async with self._transport.send("GET", "/readyz", timeout=self._transport.timeout) as response:
                status, document = response.status, json_object(await response.read())
        except MemoryAnswerError as error:
            status, document = error.status, dict(error.problem)
        except MemoryClientError as error:
            return Readiness(ready=False, reason=str(error))
        return Readiness(ready=status == 200, reason=str(document.get("status") or f"HTTP {status}"))


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
