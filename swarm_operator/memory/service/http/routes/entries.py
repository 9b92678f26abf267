"""`/v1/entries/{namespace}/{key}`: the hot routes, on plain ASGI.

The path is taken as it was sent (`raw_path`): servers decode `%2F` before a router sees it, and then the namespace
`a/b` could not be told from a namespace `a` and a key `b/...`. The first slash that is not escaped ends the namespace;
all that follows is the key.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Receive

from swarm_operator.memory.core import limits, strict_json
from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.asgi import (
    JSON,
    BodyReader,
    Reply,
    check_members,
    etag,
    if_match,
    if_none_match,
    percent_decode,
)
from swarm_operator.memory.service.documents import entry_head, entry_whole
from swarm_operator.memory.service.errors import NotFoundError, WrongMethodError
from swarm_operator.memory.service.http.operation import Answer, Operation, reference
from swarm_operator.memory.service.http.schemas import IF_MATCH, WRITTEN
from swarm_operator.memory.service.json_schema import object_of, one_of
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

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
        body=object_of(WRITTEN, ("value",)),
        conflicts=(412,),
    ),
    Operation(
        "GET",
        ROUTE,
        "get",
        "Read an entry.",
        {200: Answer("The entry.", reference("Entry"), versioned=True), 304: _UNCHANGED},
        headers={"If-None-Match": {"type": "string"}},
        conflicts=(404,),
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
_ALLOW: Final = (b"allow", b"GET, HEAD, PUT, DELETE")


class EntryRoutes:
    """Answers requests for one entry."""

    def __init__(self, store: Store, metrics: ServiceMetrics, bodies: BodyReader) -> None:
        self._store = store
        self._observe = {name: metrics.operations[name].observe for name in ("put", "get", "delete")}
        self._bodies = bodies

    async def answer(self, method: str, path: bytes, headers: Mapping[bytes, bytes], receive: Receive) -> Reply:
        """Answer a request whose path starts with PREFIX.

        Raises:
            RequestError, MemoryStoreError: see problems.
        """
        namespace_raw, slash, key_raw = path[len(PREFIX) :].partition(b"/")
        if not slash:
            raise NotFoundError("an entry's path is /v1/entries/{namespace}/{key}; to list use /v1/entries?namespace=")
        namespace = percent_decode("namespace", namespace_raw)
        key = percent_decode("key", key_raw)
        if method in {"GET", "HEAD"}:
            started = time.perf_counter()
            reply = await self._get(namespace, key, headers)
            self._observe["get"](time.perf_counter() - started)
        elif method == "PUT":
            body = await self._bodies.read(headers, receive)
            started = time.perf_counter()
            reply = await self._put(namespace, key, headers, body)
            self._observe["put"](time.perf_counter() - started)
        elif method == "DELETE":
            started = time.perf_counter()
            reply = await self._delete(namespace, key, headers)
            self._observe["delete"](time.perf_counter() - started)
        else:
            raise WrongMethodError(f"an entry has no method {method[:32]}", _ALLOW)
        return reply

    async def _get(self, namespace: str, key: str, headers: Mapping[bytes, bytes]) -> Reply:
        entry = await self._store.get(namespace, key)
        if entry is None:
            raise NotFoundError("there is no such entry")
        if if_none_match(headers.get(b"if-none-match"), entry.version):
            return Reply(304, b"", (etag(entry.version),))
        return Reply(200, entry_whole(entry), (JSON, etag(entry.version)))

    async def _put(self, namespace: str, key: str, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        create_only = False
        if (condition := headers.get(b"if-none-match")) is not None:
            if condition.strip() != b"*":
                raise InvalidInputError("If-None-Match", "* (write only if there is no such entry)")
            create_only = True
        if_version = if_match(headers.get(b"if-match"))
        if create_only and if_version is not None:
            raise InvalidInputError("If-Match", "not together with If-None-Match")
        entry, created = await self._store.write(
            _draft(namespace, key, body), create_only=create_only, if_version=if_version
        )
        return Reply(201 if created else 200, entry_head(entry), (JSON, etag(entry.version)))

    async def _delete(self, namespace: str, key: str, headers: Mapping[bytes, bytes]) -> Reply:
        if not await self._store.delete(namespace, key, if_version=if_match(headers.get(b"if-match"))):
            raise NotFoundError("there is no such entry")
        return Reply(204)


def _draft(namespace: str, key: str, body: bytes) -> Draft:
    limits.check_namespace(namespace)  # before the body, which costs more to check
    limits.check_key(key)
    document: Any = strict_json.parse_document("body", body)
    if type(document) is not dict or "value" not in document:
        raise InvalidInputError("body", 'a JSON object with the member "value"')
    check_members("body", document, _MEMBERS)
    return Draft.create(
        namespace,
        key,
        document["value"],
        tags=document.get("tags"),
        metadata=document.get("metadata"),
        ttl=document.get("ttl"),
    )
