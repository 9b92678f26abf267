"""Operations on single entries: `/v1/entries/{namespace}/{key}`. These are the hot routes, on plain ASGI.

The path is parsed as sent (`raw_path`). Servers decode `%2F` in `path`, so a namespace `a/b` would be indistinguishable
from a namespace `a` and a key `b/...`. The first unescaped slash ends the namespace; the rest is the key.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from swarm_operator.memory.core import strict_json, vectors
from swarm_operator.memory.core.duplicates import DuplicateRule
from swarm_operator.memory.core.entry import Draft, Entry, check_key, check_namespace
from swarm_operator.memory.core.errors import InvalidInputError, OverloadedError, VersionConflictError
from swarm_operator.memory.core.threads import LARGE_BYTES, run_on_thread
from swarm_operator.memory.service.asgi import (
    JSON,
    IfMatch,
    Reply,
    check_members,
    etag,
    if_none_match,
)
from swarm_operator.memory.service.documents import entry_head, entry_whole, written
from swarm_operator.memory.service.errors import NotFoundError
from swarm_operator.memory.service.http.endpoint import Call, Endpoint
from swarm_operator.memory.service.http.operation import Answer, Operation, reference
from swarm_operator.memory.service.http.schemas import IF_MATCH, RULE, WRITTEN
from swarm_operator.memory.service.json_schema import object_of, one_of

PREFIX: Final = b"/v1/entries/"
ROUTE: Final = "/v1/entries/{namespace}/{key}"
_UNCHANGED: Final = Answer("The caller has it already.", versioned=True)
_WRITTEN: Final = Answer("The entry without its value.", reference("EntryHead"), versioned=True)
OPERATIONS: Final = (
    Operation(
        "PUT",
        ROUTE,
        "put",
        "Write an entry. Acknowledged means on disk.",
        {200: _WRITTEN, 201: _WRITTEN},
        headers={"If-Match": IF_MATCH, "If-None-Match": one_of("Only if there is no such entry.", "*")},
        body=object_of({**WRITTEN, **RULE}, ("value",)),
        conflicts=(409, 412),
    ),
    Operation(
        "GET",
        ROUTE,
        "get",
        "Read an entry.",
        {200: Answer("The entry.", reference("Entry"), versioned=True), 304: _UNCHANGED},
        headers={"If-Match": IF_MATCH, "If-None-Match": {"type": "string"}},
        conflicts=(404, 412),
    ),
    Operation(
        "DELETE",
        ROUTE,
        "delete",
        "Delete an entry.",
        {204: Answer("It is gone.")},
        headers={"If-Match": IF_MATCH},
        conflicts=(404, 412),
    ),
)
_MEMBERS: Final = frozenset(OPERATIONS[0].members)
_MAX_ATTEMPTS: Final = 100
_Written = TypeVar("_Written")


async def _get(call: Call) -> Reply:
    entry = await call.store.get(*call.parameters)
    if entry is None:
        raise NotFoundError("there is no such entry")
    if (header := call.headers.get(b"if-match")) is not None and not IfMatch.parse(header).matches(entry.version):
        raise VersionConflictError(entry.version)
    if if_none_match(call.headers.get(b"if-none-match"), entry.version):
        return Reply(304, b"", (etag(entry.version),))
    return Reply(200, entry_whole(entry), (JSON, etag(entry.version)))


async def _put(call: Call) -> Reply:
    namespace, key = call.parameters
    create_only = False
    if (none_match := call.headers.get(b"if-none-match")) is not None:
        if none_match.strip() != b"*":
            raise InvalidInputError("If-None-Match", "* (write only if there is no such entry)")
        create_only = True
    condition = _condition(call)
    if create_only and condition is not None:
        raise InvalidInputError("If-Match", "not together with If-None-Match")
    if len(call.body) > LARGE_BYTES:
        draft, rule = await run_on_thread(_parse, namespace, key, call.body)
    else:
        draft, rule = _parse(namespace, key, call.body)
    if rule is not None:
        return await _put_checked(call, condition, draft, rule, create_only=create_only)
    if condition is None:
        entry, created = await call.store.write(draft, create_only=create_only)
    else:
        entry, created = await _on_match(call, condition, functools.partial(call.store.write, draft))
    return _written(entry, entry_head(entry), created=created)


async def _put_checked(
    call: Call, condition: IfMatch | None, draft: Draft, rule: DuplicateRule, *, create_only: bool
) -> Reply:
    write = functools.partial(call.store.write_checked, draft, rule)
    if condition is None:
        done = await write(create_only=create_only)
    else:
        done = await _on_match(call, condition, write)
    return _written(done.entry, written(done), created=done.created)


def _written(entry: Entry, body: bytes, *, created: bool) -> Reply:
    return Reply(201 if created else 200, body, (JSON, etag(entry.version)))


async def _delete(call: Call) -> Reply:
    delete = functools.partial(call.store.delete, *call.parameters)
    condition = _condition(call)
    if not await (delete() if condition is None else _on_match(call, condition, delete)):
        raise NotFoundError("there is no such entry")
    return Reply(204)


def _condition(call: Call) -> IfMatch | None:
    header = call.headers.get(b"if-match")
    return None if header is None else IfMatch.parse(header)


async def _on_match(call: Call, condition: IfMatch, write: Callable[..., Awaitable[_Written]]) -> _Written:
    """Write if the entry meets the condition. The store decides inside the write's transaction, version by version.

    Raises:
        VersionConflictError: the entry does not meet the condition.
        OverloadedError: other writers changed the entry before each of many attempts.
    """
    versions = condition.versions
    if versions is not None and len(versions) == 1:
        return await write(if_version=next(iter(versions)))
    for _ in range(_MAX_ATTEMPTS):
        entry = await call.store.get(*call.parameters)
        if entry is None or not condition.matches(entry.version):
            raise VersionConflictError(None if entry is None else entry.version)
        with contextlib.suppress(VersionConflictError):  # another writer was faster
            return await write(if_version=entry.version)
    raise OverloadedError("other writers keep changing this entry; retry later")


def _parse(namespace: str, key: str, body: bytes) -> tuple[Draft, DuplicateRule | None]:
    check_namespace(namespace)  # checked before the body, which costs more
    check_key(key)
    return parse_put(namespace, key, body)


def parse_put(
    namespace: str, key: str, body: bytes, updated_by: str | None = None
) -> tuple[Draft, DuplicateRule | None]:
    """Return the draft of a PUT's body, and the rule for near-duplicates. The names have been checked.

    Raises:
        InvalidInputError: names the member and what is allowed.
    """
    document: Any = strict_json.parse("body", body)
    if type(document) is not dict or "value" not in document:
        raise InvalidInputError("body", 'a JSON object with the member "value"')
    if len(document) == 1:
        value = strict_json.encode_parsed(document["value"])
        strict_json.check_parsed("body", body, 1 + strict_json.count(value, b":"))
        return Draft(namespace, key, value, "[]", "{}", 0, updated_by=updated_by), None
    check_members("body", document, _MEMBERS)
    draft = Draft.create(
        namespace,
        key,
        document["value"],
        tags=document.get("tags"),
        metadata=document.get("metadata"),
        ttl=document.get("ttl"),
        updated_by=updated_by,
        vector=vectors.from_json(document["vector"]) if "vector" in document else None,
    )
    # The encoded parts show whether parsing has dropped a member, so the body is not encoded again.
    inside = strict_json.count(draft.value_json, b":") + draft.tags_json.count(":") + draft.metadata_json.count(":")
    strict_json.check_parsed("body", body, len(document) + inside)
    if "on_duplicate" in document or "threshold" in document:
        return draft, DuplicateRule.create(document.get("on_duplicate"), document.get("threshold"))
    return draft, None


ENDPOINTS: Final = tuple(map(Endpoint, OPERATIONS, (_put, _get, _delete), (True, False, False)))
