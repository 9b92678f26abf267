"""Operation `GET /v1/search`: returns a page of the entries that match a query string."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core import Query, strict_json
from swarm_operator.memory.core.entry import MAX_KEY_BYTES
from swarm_operator.memory.core.query import MAX_QUERY_TAGS
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.documents import hits_page
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, boolean
from swarm_operator.memory.service.http.operation import (
    CURSOR,
    LIMIT,
    NEXT_CURSOR,
    SWITCH,
    Answer,
    Operation,
    reference,
)
from swarm_operator.memory.service.http.schemas import AUTHOR, NAMESPACE, PREFIX, TAG
from swarm_operator.memory.service.json_schema import array, nullable, object_of, one_of, text, whole

_SEARCHED: Final = object_of(
    {
        "namespace": nullable(text()),
        "namespaces": one_of("", "all", "subtree", "one", "permitted"),
        "within": array({"type": "string"}, "The namespaces, with those below them, that the token may read."),
        "order": one_of("", "key", "updated", "rank", "newest"),
        "partial": {"type": "boolean", "description": "The page ended for its cost; go on with next_cursor."},
        "candidates": whole(),
        "fresh": {"const": False, "description": "Some writes before the search may be missing."},
    },
    ("namespace", "namespaces", "order", "partial", "candidates"),
)
_PAGE: Final = object_of(
    {"entries": array(reference("Hit")), "next_cursor": NEXT_CURSOR, "searched": _SEARCHED},
    ("entries", "next_cursor", "searched"),
)
OPERATION: Final = Operation(
    "GET",
    "/v1/search",
    "search",
    "Find entries by key, words, tags, metadata, time or author.",
    {200: Answer("A page.", _PAGE)},
    query={
        "namespace": NAMESPACE,
        "subtree": {**SWITCH, "description": "Also below the namespace."},
        "prefix": PREFIX,
        "glob": text("Of the key, with *, ? and [abc].", most=MAX_KEY_BYTES),
        "tag": array(TAG, "All of these.", most=MAX_QUERY_TAGS),
        "any_tag": array(TAG, "One of these.", most=MAX_QUERY_TAGS),
        "metadata": text(
            "Fields that have these values.", contentMediaType="application/json", contentSchema={"type": "object"}
        ),
        "updated_since": text("RFC 3339 with its zone.", format="date-time"),
        "updated_by": AUTHOR,
        "text": text("Words that all occur.", minLength=1),
        "match": text("An FTS5 expression, in place of text.", minLength=1),
        "order": one_of("", "key", "updated", "rank"),
        "limit": {**LIMIT, "default": 50},
        "cursor": CURSOR,
        "values": {**SWITCH, "default": True},
    },
)
_DEFAULT_LIMIT: Final = 50


async def _search(call: Call) -> Reply:
    given = call.query_lists()
    one = {name: values[0] for name, values in given.items()}
    query = Query.create(
        namespace=one.get("namespace"),
        subtree=boolean(one, "subtree") or False,
        prefix=one.get("prefix", ""),
        glob=one.get("glob"),
        tags=given.get("tag", []),
        any_tags=given.get("any_tag", []),
        metadata=_metadata(one.get("metadata")),
        updated_since=cursors.moment(one.get("updated_since")),
        updated_by=one.get("updated_by"),
        text=one.get("text"),
        match=one.get("match"),
        order=one.get("order"),
    )
    values = boolean(one, "values") is not False
    own = cursors.of_search(call.credential, query)
    found = await call.store.search(
        query,
        position=own.decode(one.get("cursor")),
        limit=cursors.page_size(one, _DEFAULT_LIMIT),
    )
    body = hits_page(found, query, own.encode(found.position), values=values)
    return Reply(200, body, (JSON,))


def _metadata(text: str | None) -> Any:
    return None if text is None else strict_json.parse_document("metadata", text.encode())


ENDPOINTS: Final = (Endpoint(OPERATION, _search),)
