"""Operations `GET /v1/search` and `POST /v1/search`: return a page of the entries that match a query.

Both accept the same members, return the same response, and accept cursors of each other. A vector is too long for a
query string, so only the body may contain one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.entry import MAX_KEY_BYTES
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.query import MAX_QUERY_TAGS, Mode
from swarm_operator.memory.core.threads import LARGE_BYTES
from swarm_operator.memory.service import cursors, searches
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.documents import hits_page
from swarm_operator.memory.service.errors import BodyTooLargeError
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
from swarm_operator.memory.service.json_schema import Schema, array, nullable, number, object_of, one_of, text, whole
from swarm_operator.memory.service.vectors import VECTOR

MAX_BODY_BYTES: Final = 256 * 1024
"""Maximum bytes of the body: enough for the widest vector as text, and for the maximum metadata of a query."""
_STEP: Final = object_of(
    {
        "name": text("keys, tags, updated, words, newest, embed, meaning, rescore, fuse, entries."),
        "candidates": whole("Entries that the step examined or returned."),
        "milliseconds": number("Only for tokens that are not limited to namespaces."),
    },
    ("name", "candidates"),
)
_SEARCHED: Final = object_of(
    {
        "namespace": nullable(text()),
        "namespaces": one_of("", "all", "subtree", "one", "permitted"),
        "within": array({"type": "string"}, "The namespaces, with those below them, that the token may read."),
        "mode": one_of("How the text or the vector was searched.", *Mode),
        "words": whole("Number of the first words of the text that were searched; absent: all."),
        "order": one_of("", "key", "updated", "rank", "newest"),
        "partial": {"type": "boolean", "description": "The page ended for its cost; go on with next_cursor."},
        "candidates": whole(),
        "fresh": {"const": False, "description": "Some writes before the search may be missing."},
        "steps": array(_STEP, "With explain: what the search did, in order."),
    },
    ("namespace", "namespaces", "order", "partial", "candidates"),
)
_PAGE: Final = object_of(
    {"entries": array(reference("Hit")), "next_cursor": NEXT_CURSOR, "searched": _SEARCHED},
    ("entries", "next_cursor", "searched"),
)
_QUERY: Final[dict[str, Schema]] = {
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
    "text": text(
        "Words that all occur (the first 32 of a long text), or a question to search by its meaning.", minLength=1
    ),
    "match": text("An FTS5 expression, in place of text.", minLength=1),
    "mode": one_of("How to search a text; default: hybrid where there is an embedder, else words.", *Mode),
    "order": one_of("", "key", "updated", "rank"),
    "limit": {**LIMIT, "default": searches.DEFAULT_LIMIT},
    "cursor": CURSOR,
    "values": {**SWITCH, "default": True},
    "explain": {**SWITCH, "description": "Also tell the steps of the search."},
}
_GET: Final = Operation(
    "GET",
    "/v1/search",
    "search",
    "Find entries by key, words, meaning, tags, metadata, time or author.",
    {200: Answer("A page.", _PAGE)},
    query=_QUERY,
)
_POST: Final = Operation(
    "POST",
    "/v1/search",
    "search-post",
    "Find entries as GET does, also by a vector.",
    {200: Answer("A page.", _PAGE)},
    body=object_of({**_QUERY, "metadata": {"type": "object"}, "vector": VECTOR}),
    writes=False,
)
OPERATIONS: Final = (_GET, _POST)
_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "string": (str, "a string"),
    "boolean": (bool, "true or false"),
    "integer": (int, "a whole number"),
    "array": (list, "a list of strings"),
    "object": (dict, "a JSON object"),
}


def _parameters(call: Call) -> dict[str, Any]:
    """Return the members of a query string, with the types of a body's members. Raise InvalidInputError."""
    given = call.query_lists()
    one = {name: values[0] for name, values in given.items()}
    read: dict[str, Callable[[str], Any]] = {
        "boolean": lambda name: boolean(one, name),
        "integer": lambda _: cursors.page_size(one),
        "array": lambda name: given[name],
    }
    members = {name: read.get(_QUERY[name]["type"], one.__getitem__)(name) for name in one}
    if "metadata" in one:
        members["metadata"] = strict_json.parse_document("metadata", one["metadata"].encode())
    return members


async def _members(call: Call) -> dict[str, Any]:
    """Return the members of a body. Raise InvalidInputError or BodyTooLargeError."""
    if len(call.body) > MAX_BODY_BYTES:
        raise BodyTooLargeError(f"body: {len(call.body)} bytes; a search has at most {MAX_BODY_BYTES}")
    if not call.body:
        raise InvalidInputError("body", "a JSON object")
    if len(call.body) > LARGE_BYTES:
        await call.parse()
    members = call.members()
    schemas = (call.operation.body or {})["properties"]
    for name, value in members.items():
        kind, allowed = _KINDS.get(schemas[name].get("type"), (None, ""))
        if kind is not None and type(value) is not kind:
            raise InvalidInputError(name, allowed)
    return members


async def _search(call: Call, members: dict[str, Any]) -> Reply:
    query = searches.query_of(members, tags=members.get("tag", []), any_tags=members.get("any_tag", []))
    found = await searches.run(
        call.store,
        call.credential,
        query,
        cursor=members.get("cursor"),
        limit=members.get("limit", searches.DEFAULT_LIMIT),
        metrics=call.context.metrics,
    )
    body = await hits_page(
        found.page,
        query,
        found.next_cursor,
        values=members.get("values", True),
        before=found.before,
        steps=searches.steps(call.credential, found.page) if members.get("explain") else None,
    )
    return Reply(200, body, (JSON,))


async def _get(call: Call) -> Reply:
    return await _search(call, _parameters(call))


async def _post(call: Call) -> Reply:
    return await _search(call, await _members(call))


ENDPOINTS: Final = (Endpoint(_GET, _get), Endpoint(_POST, _post, parses=True))
