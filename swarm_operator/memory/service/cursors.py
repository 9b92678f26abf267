"""Cursors of pages, page sizes and times in the requests of all protocols.

A cursor is sealed (see access.seal): it is opaque, and valid only for its caller and its query.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.service.access.rights import Credential
from swarm_operator.memory.service.access.seal import SealBrokenError

DEFAULT_LIMIT: Final = 100
_FORM: Final = "1"
"""Version of the form of positions. Cursors with another version are refused."""
_GIVEN: Final = "what the page before gave, as it was given: its next_cursor or cursor"
_PAGING: Final = frozenset({"cursor", "limit"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Cursors:
    """Cursors of one query of one caller.

    Args:
        credential: credential of the caller.
        query: kind and parameters of the query, without the cursor and the size of the page.
        allowed: error message for other cursors.
    """

    def __init__(self, credential: Credential, *query: str, allowed: str = _GIVEN) -> None:
        self._seal = credential.seal
        self._names = [name.encode() for name in (_FORM, credential.principal.name, *query)]
        self._allowed = allowed

    def encode(self, position: Any) -> str | None:
        """Return the cursor for a position, a JSON value; None for None."""
        return None if position is None else self._seal.seal(orjson.dumps(position), self._names)

    def decode(self, cursor: str | None, field: str = "cursor") -> Any:
        """Return the position in a cursor; None for None. Raise InvalidInputError."""
        if cursor is None:
            return None
        try:
            return orjson.loads(self._seal.open(cursor, self._names))
        except SealBrokenError:
            raise InvalidInputError(field, self._allowed) from None


def of_search(credential: Credential, query: Query) -> Cursors:
    """Return the cursors of a search."""
    return Cursors(
        credential, "search", query.fingerprint, allowed="the next_cursor of the page before, with the same query"
    )


def of_list(credential: Credential, namespace: str, prefix: str) -> Cursors:
    """Return the cursors of a list of entries."""
    return Cursors(credential, "list", namespace, prefix)


def of_namespaces(credential: Credential) -> Cursors:
    """Return the cursors of the list of namespaces."""
    return Cursors(credential, "namespaces")


def of_messages(credential: Credential) -> Cursors:
    """Return the cursors of messages. They are positions in the order of all messages, with any filters."""
    return Cursors(credential, "messages")


def of_records(credential: Credential, kind: str, filters: Mapping[str, Any]) -> Cursors:
    """Return the cursors of a list of records. `filters` are the parameters; parameters of the page have no effect."""
    wanted = {name: value for name, value in filters.items() if name not in _PAGING}
    return Cursors(credential, "records", kind, orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS).decode())


def page_size(query: Mapping[str, str], default: int = DEFAULT_LIMIT) -> int:
    """Return the page size of a query string; 0, which the store rejects, if the text is not a number."""
    text = query.get("limit", str(default))
    # int() also accepts signs, blanks, underscores and non-ASCII digits; the store checks the range.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def moment(text: str | None) -> int | None:
    """Return an RFC 3339 time with its time zone in milliseconds since the Unix epoch. Raise InvalidInputError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInputError("updated_since", "a time with its zone as in RFC 3339: 2026-01-31T12:00:00Z")
    # Exact, and independent of the range of the platform's time functions.
    return (moment - _EPOCH) // timedelta(milliseconds=1)
