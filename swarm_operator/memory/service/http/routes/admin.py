"""Operations for lists, namespaces, statistics, garbage collection and health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import orjson

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service import cursors, documents
from swarm_operator.memory.service.access import audit
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, boolean, decimal, json_reply
from swarm_operator.memory.service.http.operation import CURSOR, LIMIT, SWITCH, Answer, Operation, page_of, reference
from swarm_operator.memory.service.http.routes import backup, search
from swarm_operator.memory.service.http.schemas import NAMESPACE, PREFIX
from swarm_operator.memory.service.json_schema import number, object_of, text, whole
from swarm_operator.memory.service.readiness import unready
from swarm_operator.memory.swarm.cleanup import DEFAULT_MAX_AGE, MOST_AGE

_STATUS: Final = object_of({"status": text()}, ("status",))
_LIST: Final = Operation(
    "GET",
    "/v1/entries",
    "list",
    "List a namespace's entries in the order of their keys.",
    {200: Answer("A page.", page_of("entries", reference("ListedEntry")))},
    query={"namespace": NAMESPACE, "prefix": PREFIX, "limit": LIMIT, "cursor": CURSOR},
    needed=("namespace",),
)
_DELETE_RANGE: Final = Operation(
    "DELETE",
    "/v1/entries",
    "delete-range",
    "Delete a namespace's entries whose keys start so; an empty prefix is all.",
    {200: Answer("How many there were.", object_of({"deleted": whole()}, ("deleted",)))},
    query={"namespace": NAMESPACE, "prefix": PREFIX},
    needed=("namespace", "prefix"),
)
_NAMESPACES: Final = Operation(
    "GET",
    "/v1/namespaces",
    "namespaces",
    "List the namespaces that have entries.",
    {
        200: Answer(
            "A page.",
            page_of(
                "namespaces",
                object_of(
                    {"namespace": text(), "entries": whole(), "bytes": whole()}, ("namespace", "entries", "bytes")
                ),
            ),
        )
    },
    query={"limit": LIMIT, "cursor": CURSOR},
)
_STATS: Final = Operation(
    "GET",
    "/v1/stats",
    "stats",
    "Counts, sizes, the cache, the settings. Takes a token for all namespaces.",
    {200: Answer("The statistics.", {"type": "object"})},
)
_GC: Final = Operation(
    "POST",
    "/admin/gc",
    "gc",
    "Collect what has expired.",
    {200: Answer("What was collected.", {"type": "object"})},
    admin=True,
)
_CLEANUP: Final = Operation(
    "POST",
    "/admin/cleanup",
    "cleanup",
    "Delete old records, or only count them.",
    {200: Answer("How many of each kind.", {"type": "object"})},
    query={
        "max_age": number("Seconds.", least=0, most=MOST_AGE, default=DEFAULT_MAX_AGE),
        "keep_patterns": {**SWITCH, "default": True},
        "keep_consensus": {**SWITCH, "default": True},
        "dry_run": SWITCH,
    },
    admin=True,
)
_HEALTHZ: Final = Operation(
    "GET",
    "/healthz",
    "healthz",
    "Whether the process is worth keeping.",
    {200: Answer("It is.", _STATUS)},
    open=True,
    timed=False,
)
_READYZ: Final = Operation(
    "GET", "/readyz", "readyz", "Whether to send requests here.", {200: Answer("Do.", _STATUS)}, open=True, timed=False
)


async def _list(call: Call) -> Reply:
    query = call.query()
    if "namespace" not in query:
        raise InvalidInputError("namespace", "required: /v1/entries?namespace=...")
    prefix = query.get("prefix", "")
    own = cursors.of_list(call.credential, query["namespace"], prefix)
    after = own.decode(query.get("cursor"))
    page = await call.store.list(query["namespace"], prefix=prefix, after=after, limit=cursors.page_size(query))
    return Reply(200, await documents.entries_page(page.entries, own.encode(page.next_key)), (JSON,))


async def _delete_range(call: Call) -> Reply:
    query = call.query()
    # Both are required: a missing prefix must not delete the whole namespace.
    for name in _DELETE_RANGE.needed:
        if name not in query:
            raise InvalidInputError(
                name, "required: DELETE /v1/entries?namespace=...&prefix=...; an empty prefix is all"
            )
    return json_reply({"deleted": await call.store.delete_range(query["namespace"], prefix=query["prefix"])})


async def _namespaces(call: Call) -> Reply:
    query = call.query()
    own = cursors.of_namespaces(call.credential)
    page = await call.store.namespaces(after=own.decode(query.get("cursor")), limit=cursors.page_size(query))
    return Reply(200, documents.namespaces_page(page.namespaces, own.encode(page.next_name)), (JSON,))


async def _stats(call: Call) -> Reply:
    call.query()
    return Reply(200, documents.statistics(call.store, await call.store.stats()), (JSON,))


async def _gc(call: Call) -> Reply:
    call.query()
    return Reply(200, documents.collection(await call.store.collect_garbage()), (JSON,))


async def _cleanup(call: Call) -> Reply:
    query = call.query()
    kept = {name: boolean(query, name) for name in ("keep_patterns", "keep_consensus", "dry_run")}
    options = {name: value for name, value in kept.items() if value is not None}
    max_age = decimal(query, "max_age", DEFAULT_MAX_AGE)
    audit.record(call.operation.name, call.credential.principal.name, max_age=max_age, **options)
    done = await call.swarm.cleanup(max_age=max_age, **options)
    return json_reply({**asdict(done), "total": done.total})


async def _healthz(call: Call) -> Reply:
    # Only a restart recovers a stopped writer.
    return _status(200, "ok") if call.store.alive else _status(503, "the writer has stopped")


async def _readyz(call: Call) -> Reply:
    reason = unready(call.store)
    if reason is None:
        await call.store.confirm_upgrade()
    return _status(200, "ok") if reason is None else _status(503, reason)


def _status(status: int, reason: str) -> Reply:
    return Reply(status, orjson.dumps({"status": reason}), (JSON,))


ENDPOINTS: Final = (
    Endpoint(_LIST, _list),
    Endpoint(_DELETE_RANGE, _delete_range),
    *search.ENDPOINTS,
    Endpoint(_NAMESPACES, _namespaces),
    Endpoint(_STATS, _stats),
    Endpoint(_GC, _gc),
    Endpoint(_CLEANUP, _cleanup),
    *backup.ENDPOINTS,
    Endpoint(_HEALTHZ, _healthz),
    Endpoint(_READYZ, _readyz),
)
