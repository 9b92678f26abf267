"""The client itself: entries, and what is asked of the service as a whole. Records are in records.

    async with MemoryClient("http://my-store:8080", token_file=Path("/etc/swarm-memory/token")) as memory:
        await memory.put("swarm:agents", "agent:1", {"status": "idle"})
        entry = await memory.get("swarm:agents", "agent:1")

Retries, at most `retries` with growing pauses:
- A refusal that says nothing was done (429, or 503 with Retry-After), and a connection that could not be made: always.
- An answer that got lost (a time-out, a broken connection): when repeating is harmless. That is so for reads, for
  unconditional puts (their version may then go up by two) and for unconditional deletes (False may then mean that the
  first attempt had deleted it). A conditional write is not repeated: MemoryUnavailableError says that it is uncertain.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import aiohttp
import yarl

from swarm_operator.memory.client import backup
from swarm_operator.memory.client.errors import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClientError,
    MemoryGoneError,
    MemoryServerError,
    MemoryUnavailableError,
    answer_error,
)
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
from swarm_operator.memory.client.swarm import (
    AgentsClient,
    CommunicationsClient,
    ConsensusClient,
    CoordinationClient,
    MetricsClient,
    PatternsClient,
    TasksClient,
)
from swarm_operator.memory.client.transfer import TransferClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["MemoryClient"]


class MemoryClient:
    """Talks to one service over kept-alive connections. Use it as a context manager, in one event loop.

    Args:
        base_url: http://HOST:PORT.
        token: the bearer token.
        token_file: a file with the token, in place of `token`. It is read when first needed, and again after a 401:
            tokens are rotated.
        timeout: seconds for one attempt, from connecting to the last byte of the answer.
        retries: attempts after the first; 0 for none.
        backoff: seconds before the first retry at most; each further one waits up to twice as long, at most 5 s.
        connections: kept open at most.
        sleep: waits between attempts; tests pass their own.

    Attributes:
        agents, tasks, patterns, consensus, communications, coordination, metrics: the swarm's records, see records.
        swarm: all of them: counts, export, import, see transfer.
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
        self._base = base_url.rstrip("/")
        self._token = token
        self._token_file = token_file
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._retries = retries
        self._backoff = backoff
        self._connections = connections
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None
        self.agents = AgentsClient(self._request)
        self.tasks = TasksClient(self._request)
        self.patterns = PatternsClient(self._request)
        self.consensus = ConsensusClient(self._request)
        self.communications = CommunicationsClient(self._request)
        self.coordination = CoordinationClient(self._request)
        self.metrics = MetricsClient(self._request)
        self.swarm = TransferClient(self._request, self._open)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=self._timeout, connector=aiohttp.TCPConnector(limit=self._connections)
        )
        # aiohttp repeats a PUT by itself when a kept-alive connection breaks, as if no PUT had a condition. Here
        # `_request` decides; aiohttp has no public switch.
        self._session._retry_connection = False  # noqa: SLF001
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

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
        """Write an entry; when this returns it is on the service's disk.

        Args:
            namespace: 1 to 255 bytes.
            key: 1 to 1024 bytes.
            value: any JSON value; None is null, which is a value.
            tags: at most 64.
            metadata: a JSON object.
            ttl: seconds that it lives; None or 0 for ever.
            create_only: refuse when it exists.
            if_version: refuse unless it exists with this version.

        Raises:
            MemoryConflictError: a condition was not met.
            ValueError: `value` or `metadata` is not JSON.
        """
        document = {"value": value, "tags": list(tags or ()), "metadata": dict(metadata or {}), "ttl": ttl or 0}
        body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        headers = {"Content-Type": "application/json", **_if_match(if_version)}
        if create_only:
            headers["If-None-Match"] = "*"
        repeatable = not create_only and if_version is None
        _, answer = await self._request("PUT", _path(namespace, key), headers, body=body, repeatable=repeatable)
        return EntryHead(answer)

    async def get(self, namespace: str, key: str) -> MemoryEntry | None:
        """The entry, or None when there is none."""
        status, answer = await self._request("GET", _path(namespace, key), may_miss=True)
        return None if status == 404 else MemoryEntry(answer)

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Delete an entry. False when there was none. With `if_version` as for `put`."""
        status, _ = await self._request(
            "DELETE", _path(namespace, key), _if_match(if_version), may_miss=True, repeatable=if_version is None
        )
        return status != 404

    async def batch(self, operations: Sequence[Mapping[str, Any]], *, atomic: bool = True) -> list[BatchResult]:
        """Several operations in one request; the writes are one transaction, in their order.

        Args:
            operations: at most 1000 of `{"op": "put", "namespace": ..., "key": ..., "value": ..., "tags": [...],
                "metadata": {...}, "ttl": ..., "create_only": ..., "if_version": ...}`, `{"op": "delete", ...,
                "if_version": ...}` and `{"op": "get", ...}`. Gets see what the batch wrote.
            atomic: all writes or none. False: each stands alone, and says so in its result.

        Returns:
            A result for each operation, in order.

        Raises:
            MemoryConflictError, MemoryRequestError: an atomic batch failed; nothing was written. `problem["index"]`
                tells which operation.
            ValueError: a value is not JSON.
        """
        document = {"atomic": atomic, "operations": [dict(operation) for operation in operations]}
        body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        conditional = any(each.get("create_only") or each.get("if_version") is not None for each in operations)
        headers = {"Content-Type": "application/json"}
        _, answer = await self._request("POST", "/v1/batch", headers, body=body, repeatable=not conditional)
        return [
            BatchResult(
                status=result["status"],
                entry=MemoryEntry(result["entry"]) if "entry" in result else None,
                problem=result.get("problem"),
            )
            for result in answer["results"]
        ]

    async def get_many(self, identities: Sequence[tuple[str, str]]) -> list[MemoryEntry | None]:
        """The entries of (namespace, key), in that order, in one request; None where there is none. At most 1000."""
        operations = [{"op": "get", "namespace": namespace, "key": key} for namespace, key in identities]
        return [result.entry for result in await self.batch(operations)]

    async def delete_range(self, namespace: str, *, prefix: str, timeout: float = 600.0) -> int:
        """Delete a namespace's entries whose keys start so, all with "". Says how many there were."""
        path = f"/v1/entries?namespace={quote(namespace, safe='')}&prefix={quote(prefix, safe='')}"
        _, answer = await self._request("DELETE", path, timeout=timeout)
        return int(answer["deleted"])

    async def list(self, namespace: str, *, prefix: str = "", limit: int = 100, cursor: str | None = None) -> EntryPage:
        """A page of a namespace's entries in the order of their keys. `limit` is 1 to 1000; pages may be shorter."""
        query = {"namespace": namespace, "prefix": prefix, "limit": str(limit)}
        if cursor is not None:
            query["cursor"] = cursor
        path = "/v1/entries?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        _, answer = await self._request("GET", path)
        return EntryPage([MemoryEntry(entry) for entry in answer["entries"]], answer["next_cursor"])

    async def iterate(self, namespace: str, *, prefix: str = "", page: int = 100) -> AsyncIterator[MemoryEntry]:
        """All of a namespace's entries, page by page."""
        cursor: str | None = None
        while True:
            part = await self.list(namespace, prefix=prefix, limit=page, cursor=cursor)
            for entry in part.entries:
                yield entry
            cursor = part.next_cursor
            if cursor is None:
                return

    async def namespaces(self) -> AsyncIterator[Namespace]:
        """All namespaces that have entries and that the token may read, by name, page by page."""
        cursor: str | None = None
        while True:
            path = "/v1/namespaces?limit=1000" + ("" if cursor is None else f"&cursor={quote(cursor)}")
            _, answer = await self._request("GET", path)
            for each in answer["namespaces"]:
                yield Namespace(each["namespace"], each["entries"], each["bytes"])
            cursor = answer["next_cursor"]
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
        text: str | None = None,
        match: str | None = None,
        order: str | None = None,
        values: bool = True,
        limit: int = 50,
        cursor: str | None = None,
    ) -> SearchPage:
        """A page of the entries for which all of this holds.

        Args:
            namespace: where; None: everywhere that the token may read.
            subtree: also below it: of `a` that is `a/b`.
            prefix: of the key.
            glob: of the key: `*`, `?`, `[abc]`.
            tags: all of them.
            any_tags: at least one of them.
            metadata: top-level fields that have these values.
            updated_since: RFC 3339.
            text: words that all occur in the key or value; `wor*` is the start of one, `"two words"` stand together.
            match: an FTS5 expression in place of `text`.
            order: key, updated (the last written first) or rank (the best first, with a text).
            values: False: without values and metadata, which is shorter.
            limit: 1 to 1000; pages may be shorter.
            cursor: `next_cursor` of the page before, with all else as it was.

        Raises:
            MemoryRequestError: 400; `problem` names the field.
        """
        query: list[tuple[str, str]] = [("tag", tag) for tag in tags] + [("any_tag", tag) for tag in any_tags]
        wanted = {
            "namespace": namespace, "prefix": prefix or None, "glob": glob, "updated_since": updated_since,
            "text": text, "match": match, "order": order, "cursor": cursor, "limit": str(limit),
            "subtree": "true" if subtree else None, "values": None if values else "false",
            "metadata": json.dumps(dict(metadata), allow_nan=False) if metadata else None,
        }  # fmt: skip
        query += [(name, value) for name, value in wanted.items() if value is not None]
        path = "/v1/search?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
        _, answer = await self._request("GET", path)
        hits = [MemoryHit(entry) for entry in answer["entries"]]
        return SearchPage(hits, answer["next_cursor"], answer["searched"])

    async def find(self, **query: Any) -> AsyncIterator[MemoryHit]:
        """All that `search` finds, page by page. Takes what `search` takes, but for `cursor`."""
        cursor: str | None = None
        while True:
            page = await self.search(**query, cursor=cursor)
            for hit in page.hits:
                yield hit
            cursor = page.next_cursor
            if cursor is None:
                return

    async def watch(
        self,
        *,
        namespace: str | None = None,
        prefix: str = "",
        since: int | None = None,
        on_ready: Callable[[int], None] | None = None,
        silence: float = 45.0,
    ) -> AsyncIterator[Change]:
        """Changes as they are committed, for ever. A watch that breaks is resumed from its last change.

        Args:
            namespace: only there; None: everywhere that the token may read.
            prefix: only keys that start so.
            since: `seq` of the last change that is known; None: from now on.
            on_ready: told the position that the watch begins at, and is resumed at: what is committed later is seen.
            silence: seconds without any sign, the service's heartbeats included, after which it is resumed.

        Raises:
            MemoryGoneError: changes after the last one are gone, or this is another database now.
            MemoryClientError: as other calls, but only after as many attempts in a row as they make.
        """
        failures = 0
        while True:
            try:
                async for position, change in self._stream(namespace, prefix, since, silence):
                    failures, since = 0, position
                    if change is not None:
                        yield change
                    elif on_ready is not None:
                        on_ready(position)
            except (MemoryUnavailableError, MemoryBusyError):
                failures += 1
                if failures > self._retries:
                    raise
            limit = min(self._backoff * 2**failures, 5.0)
            await self._sleep(random.uniform(limit / 2, limit))  # noqa: S311 - jitter, no secret

    async def _stream(
        self, namespace: str | None, prefix: str, since: int | None, silence: float
    ) -> AsyncIterator[tuple[int, Change | None]]:
        """One connection's changes with their positions; without a change where it begins."""
        if self._session is None:
            raise RuntimeError("use MemoryClient as a context manager")
        wanted = {"namespace": namespace, "prefix": prefix or None, "since": None if since is None else str(since)}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in wanted.items() if value is not None)
        url = yarl.URL(f"{self._base}/v1/watch?{query}", encoded=True)
        limit = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout.total, sock_read=silence)
        try:
            for _ in range(2):
                token = self._bearer()
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                async with self._session.get(url, headers=headers, allow_redirects=False, timeout=limit) as response:
                    if response.status == 401 and self._token_file is not None and _ == 0:
                        self._token = None
                        continue
                    if response.status != 200:
                        refused = response.headers.get("Retry-After") is not None
                        raise answer_error(response.status, _document(await response.read()), refused=refused)
                    async for name, data in _events(response.content):
                        if name == "missed":
                            raise MemoryGoneError(410, {"detail": "this watch was too slow", **data})
                        yield (data["seq"], Change(**data)) if name == "change" else (data["seq"], None)
                    return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MemoryUnavailableError(f"{self._base}: {error or type(error).__name__}", uncertain=False) from error

    async def stats(self) -> Stats:
        """Counts, sizes and settings of the service."""
        _, raw = await self._request("GET", "/v1/stats")
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
        """Have expired entries collected now, and empty pages given back. Needs the admin token.

        Args:
            timeout: seconds to wait for one attempt. The service goes on when nobody waits any more.

        Returns:
            What was done: `collected` entries, their `value_bytes`, `given_back_bytes`, `started_at`,
            `duration_seconds`.

        Raises:
            MemoryAuthError: 403 with the client token.
        """
        _, answer = await self._request("POST", "/admin/gc", timeout=timeout)
        return dict(answer)

    async def backup(self, path: str | Path, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Have the database copied while it is in use, and fetch the copy. Needs the admin token.

        The file is whole and on disk when this returns; after an error there is none.

        Args:
            path: a file that is not there yet.
            progress: told how many bytes came, of how many, once the service has made its copy.

        Returns:
            Its bytes.

        Raises:
            FileExistsError: there is such a file; it stays as it is.
            MemoryAuthError: 403 with the client token.
            MemoryBusyError: another backup is being made.
            MemoryUnavailableError: also when it broke off or was damaged on its way.
            OSError: it can't be written.
        """
        return await backup.fetch(self._open, path, progress=progress)

    async def ready(self) -> Readiness:
        """Ask /readyz once. Never raises MemoryClientError: no answer is an answer, too."""
        try:
            status, _, document = await self._attempt("GET", "/readyz", {}, None)
        except MemoryClientError as error:
            return Readiness(ready=False, reason=str(error))
        return Readiness(ready=status == 200, reason=str(document.get("status") or f"HTTP {status}"))

    @contextlib.asynccontextmanager
    async def _open(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, data: Any = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer to be read as a stream; sent once, or again with a token that was read again. No time-out in all.

        Raises:
            MemoryClientError: what the answer says is wrong, or it broke off.
        """
        if self._session is None:
            raise RuntimeError("use MemoryClient as a context manager")
        url = yarl.URL(self._base + path, encoded=True)
        limit = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout.total)
        try:
            for attempt in range(2):
                token = self._bearer()
                sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
                async with self._session.request(
                    method, url, data=data, headers=sent, allow_redirects=False, timeout=limit
                ) as response:
                    if response.status == 401 and self._token_file is not None and attempt == 0 and data is None:
                        self._token = None
                        continue
                    if response.status >= 400:
                        refused = response.headers.get("Retry-After") is not None
                        raise answer_error(response.status, _document(await response.read()), refused=refused)
                    yield response
                    return
        except aiohttp.ClientConnectorError as error:
            raise MemoryUnavailableError(f"{self._base}: {error}", uncertain=False) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MemoryUnavailableError(f"{self._base}: {error or type(error).__name__}", uncertain=True) from error

    async def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        repeatable: bool = True,
        may_miss: bool = False,
        timeout: float | None = None,
    ) -> tuple[int, Any]:
        """Send until it is answered or may not be repeated; raise what the answer says is wrong."""
        rereads = self._token_file is not None
        attempt = 0
        while True:
            try:
                status, retry_after, document = await self._attempt(method, path, dict(headers or {}), body, timeout)
                if status < 400 or (status == 404 and may_miss):
                    return status, document
                raise answer_error(status, document, refused=retry_after is not None)
            except MemoryAuthError:
                if not rereads:
                    raise
                rereads, self._token = False, None
                continue
            except MemoryBusyError:
                if attempt >= self._retries:
                    raise
                pause = retry_after or 0.0
            except MemoryUnavailableError as error:
                if attempt >= self._retries or (error.uncertain and not repeatable):
                    raise
                pause = 0.0
            limit = min(self._backoff * 2**attempt, 5.0)
            attempt += 1
            await self._sleep(max(random.uniform(limit / 2, limit), min(pause, 5.0)))  # noqa: S311 - jitter, no secret

    async def _attempt(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout: float | None = None
    ) -> tuple[int, float | None, Any]:
        """Send once: (status, Retry-After in seconds, the JSON document or {})."""
        if self._session is None:
            raise RuntimeError("use MemoryClient as a context manager")
        if token := self._bearer():
            headers["Authorization"] = f"Bearer {token}"
        limit = self._timeout if timeout is None else aiohttp.ClientTimeout(total=timeout)
        url = yarl.URL(self._base + path, encoded=True)  # as it is: yarl would decode %2F
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False, timeout=limit
            ) as response:
                text = await response.read()
        except aiohttp.ClientConnectorError as error:
            raise MemoryUnavailableError(f"{self._base}: {error}", uncertain=False) from error
        except TimeoutError as error:
            raise MemoryUnavailableError(f"{self._base}: no answer within {limit.total:g} s", uncertain=True) from error
        except aiohttp.InvalidURL as error:
            raise MemoryClientError(f"{self._base} is not a URL") from error
        except (aiohttp.ClientError, OSError) as error:
            raise MemoryUnavailableError(f"{self._base}: {error or type(error).__name__}", uncertain=True) from error
        wait = response.headers.get("Retry-After")
        return response.status, float(wait) if wait and wait.isdigit() else None, _document(text)

    def _bearer(self) -> str | None:
        if self._token is None and self._token_file is not None:
            try:
                self._token = self._token_file.read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                raise MemoryClientError(f"cannot read the token from {self._token_file}: {error}") from error
        return self._token


def _document(text: bytes) -> Any:
    try:
        document = json.loads(text) if text else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


async def _events(lines: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """The events of an event stream, as the service sends them: one line of data each."""
    name = ""
    async for line in lines:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def _path(namespace: str, key: str) -> str:
    # Dots are escaped as well: proxies and clients take `.` and `..` between slashes for steps of a path.
    parts = (quote(part, safe="").replace(".", "%2E") for part in (namespace, key))
    return "/v1/entries/" + "/".join(parts)


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
