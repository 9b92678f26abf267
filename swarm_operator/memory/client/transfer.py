"""Export, import and cleanup of a swarm's records over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any, Final

from swarm_operator.memory.client.transport import Transport, with_query

_LINES: Final = "application/x-ndjson"
_CHUNK: Final = 64 * 1024
"""Minimum bytes of a chunk that is sent, maximum bytes of a chunk that is read."""


class TransferClient:
    """`/v1/export`, `/v1/import`, `/v1/swarm` and `/admin/cleanup`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def stats(self) -> dict[str, Any]:
        """Return the number of records by kind and status."""
        return await self._transport.request("GET", "/v1/swarm", dict)

    async def cleanup(
        self,
        *,
        max_age: float | None = None,
        keep_patterns: bool = True,
        keep_consensus: bool = True,
        dry_run: bool = False,
        timeout: float = 600.0,
    ) -> dict[str, Any]:
        """Delete old messages, completed tasks and metrics. Requires the admin token.

        Args:
            max_age: seconds; one week by default.
            keep_patterns: False: also delete patterns that were not used for `max_age`.
            keep_consensus: False: also delete proposals that were closed more than `max_age` ago.
            dry_run: count only.
            timeout: seconds to wait for one attempt.

        Returns:
            The number of deleted records by kind, and the `total`; with `dry_run` of those to be deleted.
        """
        path = with_query(
            "/admin/cleanup", keep_patterns=keep_patterns, keep_consensus=keep_consensus, dry_run=dry_run,
            max_age=None if max_age is None else f"{max_age:f}".rstrip("0").rstrip("."),
        )  # fmt: skip
        return await self._transport.request("POST", path, dict, timeout=timeout)

    async def export(self, *, namespaces: Sequence[str] = (), everything: bool = False) -> AsyncIterator[bytes]:
        """Yield the swarm's entries as lines of JSON, newlines included. The last line marks a complete export.

        Args:
            namespaces: names of namespaces; by default all that start with `swarm:`.
            everything: all namespaces.

        Raises:
            MemoryUnavailableError: the service did not respond, or the export was cut off.
        """
        path = with_query("/v1/export", namespace=[*namespaces], all=everything or None)
        async with self._transport.stream(path, media_type=_LINES) as response:
            held = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                held += chunk
                end = held.rfind(b"\n") + 1
                for line in bytes(held[:end]).splitlines(keepends=True):
                    yield line
                del held[:end]

    async def import_(
        self, lines: AsyncIterable[bytes] | Iterable[bytes], *, existing: str = "overwrite"
    ) -> dict[str, Any]:
        """Import the lines of an export. Idempotent: entries that are already stored are left unchanged.

        Args:
            lines: chunks of an export, split anywhere.
            existing: rule for entries with another value: `overwrite`, `keep`, or `newer`, which keeps the last written
                entry.

        Returns:
            The number of entries `created`, `updated`, `unchanged`, `kept`, `expired`, and whether the export was
            `complete`.

        Raises:
            MemoryRequestError: a line was rejected. `problem` has its number as `line`, and under `imported` the counts
                of the entries written before its batch.
        """
        # A stream cannot be sent twice, so first check the connection and the token with a request that can be retried.
        await self._transport.request("GET", "/v1/namespaces?limit=1", dict)
        path, headers = with_query("/v1/import", existing=existing), {"Content-Type": _LINES}
        async with self._transport.send("POST", path, headers=headers, body=_chunks(lines)) as response:
            return await self._transport.read(response, _imported)


def _imported(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of an import. Raise KeyError if they are missing."""
    for name in ("created", "updated", "unchanged", "complete"):
        answer[name]
    return answer


async def _chunks(lines: AsyncIterable[bytes] | Iterable[bytes]) -> AsyncIterator[bytes]:
    """Join lines to chunks of at least _CHUNK bytes."""
    held = bytearray()
    async for line in _each(lines):
        held += line
        if len(held) >= _CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


async def _each(lines: AsyncIterable[bytes] | Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of an iterable that may be asynchronous."""
    if hasattr(lines, "__aiter__"):
        async for line in lines:
            yield line
    else:
        for line in lines:
            yield line
