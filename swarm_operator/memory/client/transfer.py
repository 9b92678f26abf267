"""Exporting and importing a swarm over HTTP, as streams of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    import aiohttp

__all__ = ["TransferClient"]

Request: TypeAlias = "Callable[..., Awaitable[tuple[int, Any]]]"
Stream: TypeAlias = "Callable[..., AbstractAsyncContextManager[aiohttp.ClientResponse]]"

_HEADERS: Final = {"Content-Type": "application/x-ndjson"}
_CHUNK: Final = 64 * 1024


class TransferClient:
    """`/v1/export`, `/v1/import`, `/v1/swarm` and `/admin/cleanup`."""

    def __init__(self, request: Request, stream: Stream) -> None:
        self._request = request
        self._stream = stream

    async def stats(self) -> dict[str, Any]:
        """How many records there are, of each kind and status."""
        _, answer = await self._request("GET", "/v1/swarm")
        return dict(answer)

    async def cleanup(
        self,
        *,
        max_age: float | None = None,
        keep_patterns: bool = True,
        keep_consensus: bool = True,
        dry_run: bool = False,
        timeout: float = 600.0,
    ) -> dict[str, Any]:
        """Delete old messages, completed tasks and metrics. Needs the admin token.

        Args:
            max_age: seconds; a week by default.
            keep_patterns: False: also patterns that were not used for so long.
            keep_consensus: False: also proposals that were closed so long ago.
            dry_run: only count.
            timeout: seconds to wait for one attempt.

        Returns:
            How many of each kind were deleted, or would have been; `total`.
        """
        switches = {"keep_patterns": keep_patterns, "keep_consensus": keep_consensus, "dry_run": dry_run}
        query = [f"{name}={str(value).lower()}" for name, value in switches.items()]
        query += [] if max_age is None else [f"max_age={max_age:f}".rstrip("0").rstrip(".")]
        _, answer = await self._request("POST", f"/admin/cleanup?{'&'.join(query)}", timeout=timeout)
        return dict(answer)

    async def export(self, *, namespaces: Sequence[str] = (), everything: bool = False) -> AsyncIterator[bytes]:
        """The swarm as lines of JSON, each with its newline. The last one says that the export is whole.

        Args:
            namespaces: only these; by default all that start with `swarm:`.
            everything: all namespaces.

        Raises:
            MemoryUnavailableError: also when it was cut off.
        """
        query = [f"namespace={quote(name, safe='')}" for name in namespaces] + (["all=true"] if everything else [])
        async with self._stream("GET", "/v1/export" + ("?" + "&".join(query) if query else "")) as response:
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
        """Write such lines. It may be repeated: what is there already stays as it is.

        Args:
            lines: pieces of an export, cut anywhere.
            existing: what becomes of entries that are there with another value: `overwrite`, `keep`, or `newer`, by
                which the one stays that was written later.

        Returns:
            How many entries were `created`, `updated`, `unchanged`, `kept`, `expired`; whether the export was
            `complete`.

        Raises:
            MemoryRequestError: a line was refused: `problem` has its number as `line`, and under `imported` what was
                written before its batch.
        """
        # A stream can't be sent twice: this finds out whether the service is there and the token is good.
        await self._request("GET", "/v1/namespaces?limit=1")
        path = f"/v1/import?existing={quote(existing, safe='')}"
        async with self._stream("POST", path, headers=_HEADERS, data=_pieces(lines)) as response:
            document: dict[str, Any] = await response.json()
            return document


async def _pieces(lines: AsyncIterable[bytes] | Iterable[bytes]) -> AsyncIterator[bytes]:
    """Pieces of a good size, for as many lines as there may be."""
    held = bytearray()
    async for line in _each(lines):
        held += line
        if len(held) >= _CHUNK:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


async def _each(lines: AsyncIterable[bytes] | Iterable[bytes]) -> AsyncIterator[bytes]:
    if hasattr(lines, "__aiter__"):
        async for line in lines:
            yield line
    else:
        for line in lines:
            yield line
