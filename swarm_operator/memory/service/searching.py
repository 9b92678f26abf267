"""`GET /v1/search`: a query string in, a page of what was found out."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson

from swarm_operator.memory.engine import Query, codec
from swarm_operator.memory.engine.errors import InvalidInputError
from swarm_operator.memory.service.asgi import parse_query_lists
from swarm_operator.memory.service.rendering import hits_page

if TYPE_CHECKING:
    from swarm_operator.memory.engine import MemoryStore
    from swarm_operator.memory.engine.search import Position

__all__ = ["answer", "cursor", "moment", "position"]

_PARAMETERS: Final = (
    "namespace", "subtree", "prefix", "glob", "tag", "any_tag", "metadata", "updated_since", "text", "match", "order",
    "limit", "cursor", "values",
)  # fmt: skip
_REPEATED: Final = frozenset({"tag", "any_tag"})
_DEFAULT_LIMIT: Final = "50"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POSITIONS: Final[dict[str, tuple[type, ...]]] = {
    "key": (str, str),
    "updated": (int, str, int),
    "rank": (float, int),
    "newest": (int,),
}
"""What follows the name of a plan, see engine.search."""


async def answer(store: MemoryStore, query_string: bytes) -> bytes:
    """The document for a query string. Raises InvalidInputError, which names the parameter, and MemoryStoreError."""
    given = parse_query_lists(query_string, _PARAMETERS, repeated=_REPEATED)
    one = {name: values[0] for name, values in given.items()}
    query = Query.create(
        namespace=one.get("namespace"),
        subtree=_switch("subtree", one.get("subtree", "false")),
        prefix=one.get("prefix", ""),
        glob=one.get("glob"),
        tags=given.get("tag", []),
        any_tags=given.get("any_tag", []),
        metadata=_metadata(one.get("metadata")),
        updated_since=moment(one.get("updated_since")),
        text=one.get("text"),
        match=one.get("match"),
        order=one.get("order"),
    )
    values = _switch("values", one.get("values", "true"))
    limit = one.get("limit", _DEFAULT_LIMIT)
    found = await store.search(
        query,
        position=position(one.get("cursor"), query),
        # int() also takes signs, blanks, underscores and other scripts' digits; the store checks the range.
        limit=int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else 0,
    )
    return hits_page(found, query, cursor(found.position, query), values=values)


def _switch(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise InvalidInputError(name, "true or false")
    return text == "true"


def _metadata(text: str | None) -> Any:
    return None if text is None else codec.parse_document("metadata", text.encode())


def moment(text: str | None) -> int | None:
    """An RFC 3339 time with its zone in milliseconds since the Unix epoch. Raises InvalidInputError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInputError("updated_since", "a time with its zone as in RFC 3339: 2026-01-31T12:00:00Z")
    # Exact, and without the range of a platform's time functions.
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def cursor(position: Position | None, query: Query) -> str | None:
    """A position as callers carry it to the next page of the same query."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(orjson.dumps([query.fingerprint, *position])).decode().rstrip("=")


def position(cursor: str | None, query: Query) -> Position | None:
    """The position in a cursor. Raises InvalidInputError."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        fingerprint, plan, *rest = orjson.loads(text)
        good = fingerprint == query.fingerprint and tuple(map(type, rest)) == _POSITIONS[plan]
        good = good and all(abs(each) < 2**63 for each in rest if type(each) is int)
    except (binascii.Error, ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise InvalidInputError("cursor", "the next_cursor of the page before, with the same query")
    return [plan, *rest]
