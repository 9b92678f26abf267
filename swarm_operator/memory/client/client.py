"""Client of the memory service: entries and service-wide calls. See retrying for retries, swarm for records.

async with MemoryClient("http://my-store:8080", token_file=Path("/etc/swarm-memory/token")) as memory:
    await memory.put("swarm:agents", "agent:1", {"status": "idle"})
    entry = await memory.get("swarm:agents", "agent:1")
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from swarm_operator.memory.client import backup, records, swarm, watch
from swarm_operator.memory.client.backups import BackupsClient
from swarm_operator.memory.client.decoding import (
    batch_results,
    entry_page,
    named,
    namespace_page,
    search_page,
    whole_entry,
)
from swarm_operator.memory.client.encoding import batch_operation, to_json, vector_text
from swarm_operator.memory.client.errors import MemoryClientError
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
from swarm_operator.memory.client.restores import RestoresClient
from swarm_operator.memory.client.retrying import RetryPolicy
from swarm_operator.memory.client.settings import SettingsClient
from swarm_operator.memory.client.transfer import TransferClient
from swarm_operator.memory.client.transport import WRITTEN, Transport, url_path, with_query
from swarm_operator.memory.client.trust import Trust

_READYZ: Final = frozenset({200, 503})


class MemoryClient:
    """Client of one service, over kept-alive connections. Use it as a context manager, in one event loop.

    Args:
        base_url: https://HOST:PORT or http://HOST:PORT.
        token: the bearer token.
        token_file: a file with the token, instead of `token`. It is read on first use, and again when the service
            refuses the token, because tokens are rotated.
        ca_file: a file with the CA certificates that are trusted, in PEM; by default those of the system are. It is
            read on first use, and again when the service's certificate is refused, because CAs are rotated.
        ca_data: the CA certificates themselves, instead of `ca_file`.
        timeout: seconds for one attempt, from connecting to the last byte of the response.
        connect_timeout: seconds for one attempt to connect.
        retry_for: seconds for which a failed request is retried, from its first attempt on; 0 disables retries.
        retries: maximum number of retries in a row, of a watch, too; None for no such limit.
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

    async def put(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl: int | None = None,
        vector: bytes | Sequence[float] | None = None,
        create_only: bool = False,
        if_version: int | None = None,
        on_duplicate: str | None = None,
        threshold: float | None = None,
    ) -> EntryHead:
        """Write an entry. When this returns, the entry is durable on the service's disk.

        Args:
            namespace: 1 to 255 bytes.
            key: 1 to 1024 bytes.
            value: any JSON value. None is stored as null.
            tags: at most 64.
            metadata: a JSON object.
            ttl: seconds until the entry expires; None or 0 for never.
            vector: the entry's embedding, to search it by its meaning: 1 to 4096 numbers, as many as all vectors of the
                namespace have, or their bytes as little-endian float32.
            create_only: fail if the entry exists.
            if_version: fail unless the entry exists with this version.
            on_duplicate: what to do if another entry of the namespace has almost the same meaning: `refuse`, `link`
                (metadata["duplicate_of"] is its key) or `keep`, the default. The result and the error name that entry.
            threshold: least cosine of such an entry, above 0 and up to 1; by default 0.9.

        Raises:
            MemoryConflictError: a precondition failed.
            MemoryDuplicateError: `on_duplicate` is `refuse`, and there is such an entry.
            MemoryProtocolError: something else responded, so the entry may not be stored.
            ValueError: a part of `value`, `tags`, `metadata` or `vector` is not JSON; the message names the part.
        """
        document = {"value": value, "tags": list(tags or ()), "metadata": dict(metadata or {}), "ttl": ttl or 0}
        if vector is not None:
            document["vector"] = vector_text(vector)
        rule = {"on_duplicate": on_duplicate, "threshold": threshold}
        document |= {name: part for name, part in rule.items() if part is not None}
        headers = _if_match(if_version) | ({"If-None-Match": "*"} if create_only else {})
        return await self._transport.request(
            "PUT", url_path("entries", namespace, key), lambda answer: named(EntryHead(answer), namespace, key),
            headers=headers, body=to_json(document), statuses=WRITTEN, idempotent=not headers,
        )  # fmt: skip

    async def get(self, namespace: str, key: str) -> MemoryEntry | None:
        """Return an entry, or None if it does not exist."""
        return await self._transport.find(
            url_path("entries", namespace, key), lambda answer: named(whole_entry(answer), namespace, key)
        )

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Delete an entry. Return False if it does not exist. `if_version` is that of `put`."""
        return await self._transport.delete(url_path("entries", namespace, key), headers=_if_match(if_version))

    async def batch(self, operations: Sequence[Mapping[str, Any]], *, atomic: bool = True) -> list[BatchResult]:
        """Apply several operations in one request; its writes are one transaction, in order.

        Args:
            operations: at most 1000 of `{"op": "put", "namespace": ..., "key": ..., "value": ..., "tags": [...],
                "metadata": {...}, "ttl": ..., "vector": ..., "create_only": ..., "if_version": ...,
                "on_duplicate": ..., "threshold": ...}`, `{"op": "delete", ..., "if_version": ...}` and
                `{"op": "get", ...}`. A get sees the batch's own writes.
            atomic: apply all writes or none. False: each operation succeeds or fails on its own, as its result says.

        Returns:
            A result for each operation, in order.

        Raises:
            MemoryConflictError, MemoryRequestError: an atomic batch failed and nothing was written.
                `problem["index"]` is the index of the failed operation.
            ValueError: a value is not JSON.
        """
        document = {"atomic": atomic, "operations": [batch_operation(operation) for operation in operations]}
        conditional = any(each.get("create_only") or each.get("if_version") is not None for each in operations)
        return await self._transport.request(
            "POST", url_path("batch"), lambda answer: batch_results(answer["results"], operations),
            body=to_json(document), idempotent=not conditional,
        )  # fmt: skip

    async def get_many(self, identities: Sequence[tuple[str, str]]) -> list[MemoryEntry | None]:
        """Return the entries of at most 1000 (namespace, key) pairs, in order; None for each that does not exist."""
        operations = [{"op": "get", "namespace": namespace, "key": key} for namespace, key in identities]
        return [result.entry for result in await self.batch(operations)]

    async def delete_range(self, namespace: str, *, prefix: str, timeout: float = 600.0) -> int:
        """Delete all entries of a namespace whose keys have the prefix; "" deletes all. Return their number."""
        path = with_query("/v1/entries", namespace=namespace, prefix=prefix)
        return await self._transport.request("DELETE", path, lambda answer: int(answer["deleted"]), timeout=timeout)

    async def list(self, namespace: str, *, prefix: str = "", limit: int = 100, cursor: str | None = None) -> EntryPage:
        """Return a page of a namespace's entries, sorted by key. `limit` is 1 to 1000; a page may be shorter."""
        path = with_query("/v1/entries", namespace=namespace, prefix=prefix, limit=limit, cursor=cursor)
        return await self._transport.request("GET", path, entry_page)

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
            path = with_query("/v1/namespaces", limit=1000, cursor=cursor)
            namespaces, cursor = await self._transport.request("GET", path, namespace_page)
            for namespace in namespaces:
                yield namespace
            if cursor is None:
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
        updated_by: str | None = None,
        text: str | None = None,
        match: str | None = None,
        order: str | None = None,
        mode: str | None = None,
        vector: bytes | Sequence[float] | None = None,
        values: bool = True,
        explain: bool = False,
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
            updated_by: who wrote the entry last, as `updated_by` of entries has it.
            text: words that all occur in the key or the value, or a question; see `mode`. `wor*` is a prefix,
                `"two words"` is a phrase.
            match: FTS5 expression, instead of `text`.
            order: key, updated (last written first) or rank (best match first, requires a text or a vector).
            mode: words, meaning or hybrid. By default hybrid where the service has an embedder, else words.
            vector: search entries whose vectors are similar to this one, as in `put`; with a text or without.
            values: False omits values and metadata from the response.
            explain: also return the steps of the search, in `searched["steps"]`.
            limit: 1 to 1000; a page may be shorter.
            cursor: `next_cursor` of the previous page, with all other arguments unchanged.

        Raises:
            MemoryRequestError: an argument is invalid; `problem` names the field.
        """
        query: dict[str, Any] = {
            "namespace": namespace, "subtree": subtree or None, "prefix": prefix or None, "glob": glob, "tag": [*tags],
            "any_tag": [*any_tags], "updated_since": updated_since, "updated_by": updated_by,
            "text": text, "match": match, "order": order,
            "mode": mode, "values": None if values else False, "explain": explain or None, "limit": limit,
            "cursor": cursor,
        }  # fmt: skip
        if vector is None:
            encoded = to_json(dict(metadata)).decode() if metadata else None
            return await self._transport.request(
                "GET", with_query(url_path("search"), **query, metadata=encoded), search_page
            )
        query |= {"metadata": dict(metadata) if metadata else None, "vector": vector_text(vector)}
        body = to_json({name: value for name, value in query.items() if value is not None})
        return await self._transport.request("POST", url_path("search"), search_page, body=body)

    async def find(self, /, **query: Any) -> AsyncIterator[MemoryHit]:
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
        retry_for: float | None = None,
    ) -> AsyncIterator[Change]:
        """Yield changes as they are committed, without end. A broken watch resumes after its last change.

        A watch survives any restart of the service: it tries to connect again until it succeeds, while the failures
        are transient. The first failure in a row is logged as a warning.

        Args:
            namespace: only this namespace; None for all namespaces that the token may read.
            prefix: only keys with this prefix.
            since: `seq` of the last known change; None for changes from now on.
            on_ready: called with the position at which the watch starts or resumes. Later changes will be seen.
            silence: seconds without data or heartbeats after which the watch reconnects.
            retry_for: seconds without a connection after which the watch fails; None for never.

        Raises:
            MemoryGoneError: changes after the last one were discarded, or the database was replaced.
            MemoryClientError: a failure that is not transient, or the last one within `retry_for`.
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


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
