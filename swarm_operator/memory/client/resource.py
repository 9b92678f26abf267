"""Base classes of the clients of records: `agents`, `tasks`, ... of a MemoryClient. Records are plain dictionaries.

Their methods are in `records`, which is generated, and in `swarm`. Calls are retried as described in transport.
"Idempotent" calls are also retried after their response was lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

from swarm_operator.memory.client.encoding import to_json
from swarm_operator.memory.client.transport import OK, WRITTEN, Transport, url_path, with_query

Record: TypeAlias = dict[str, Any]
Records: TypeAlias = list[Record]
_T = TypeVar("_T")
_MAYBE: Final = frozenset({200, 204})


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Page of a list; `next_cursor` is None on the last page. A filtered page may be short or empty before the last."""

    records: list[Record]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Page of messages. Continue with `since=cursor`: immediately if there are `more`, otherwise later."""

    messages: list[Record]
    cursor: str | None
    more: bool


class Resource:
    """Base class: requests to the paths of one kind of record."""

    _kind: ClassVar[str]

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def _find(self, *path: str) -> Record | None:
        return await self._transport.find(url_path(*path), to_record)

    async def _read(self, *path: str, read: Callable[[Record], _T], **parameters: Any) -> _T:
        return await self._transport.request("GET", with_query(url_path(*path), **parameters), read)

    async def _send(
        self, method: str, *path: str, document: Any, statuses: Collection[int] = OK, idempotent: bool = False
    ) -> Record:
        url, body = url_path(*path), to_json(document)
        return await self._transport.request(
            method, url, to_record, body=body, statuses=statuses, idempotent=idempotent
        )

    async def _send_maybe(self, method: str, *path: str, document: Any, idempotent: bool = False) -> Record | None:
        """Return the record, or None for 204."""
        url, body = url_path(*path), to_json(document)
        return await self._transport.request(
            method, url, lambda answer: to_record(answer) if answer else None,
            body=body, statuses=_MAYBE, idempotent=idempotent,
        )  # fmt: skip

    async def _store(self, *path: str, value: Any) -> None:
        await self._transport.request("PUT", url_path(*path), dict, body=to_json(value), statuses=WRITTEN)

    async def _delete(self, *path: str) -> bool:
        return await self._transport.delete(url_path(*path))

    async def _best(self, *path: str, **parameters: Any) -> Records:
        return await self._read(*path, read=lambda answer: list(map(to_record, answer[self._kind])), **parameters)

    async def _messages(self, *path: str, **parameters: Any) -> MessagePage:
        return await self._read(
            *path,
            read=lambda answer: MessagePage(list(map(to_record, answer["messages"])), answer["cursor"], answer["more"]),
            **parameters,
        )


class ListedResource(Resource):
    """Base class of kinds of records with lists."""

    async def get(self, record_id: str) -> Record | None:
        """Return a record, or None if it does not exist."""
        return await self._find(self._kind, record_id)

    async def iterate(self, /, **filters: Any) -> AsyncIterator[Record]:
        """Yield all records that `list` returns, page by page."""
        cursor: str | None = None
        while True:
            page = await self._page(self._kind, **{**filters, "cursor": cursor})
            for record in page.records:
                yield record
            if (cursor := page.next_cursor) is None:
                return

    async def _page(self, *path: str, **filters: Any) -> RecordPage:
        return await self._read(
            *path,
            read=lambda answer: RecordPage(list(map(to_record, answer[self._kind])), answer["next_cursor"]),
            **filters,
        )


def given(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def to_record(document: Record) -> Record:
    """Return the document if it is a record. Raise KeyError or TypeError."""
    if type(document["id"]) is not str:
        raise TypeError("id: not text")
    return document
