"""Operations `GET /v1/export` and `POST /v1/import`: the swarm as lines of JSON, on plain ASGI, in bounded memory.

An export that fails midway aborts its connection and lacks its last line. An import responds when all lines are on
disk, or at the first rejected line. Batches written before that line's batch are kept. Imports are repeatable, so the
same file can be sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import orjson

from swarm_operator.memory.core import MemoryStoreError
from swarm_operator.memory.core.entry import check_namespace
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.asgi import Reply, Stream
from swarm_operator.memory.service.errors import ForbiddenError, ImportFailedError
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, boolean, json_reply
from swarm_operator.memory.service.http.operation import NDJSON, SWITCH, Answer, Operation
from swarm_operator.memory.service.http.schemas import NAMESPACE
from swarm_operator.memory.service.json_schema import array, object_of, one_of, whole
from swarm_operator.memory.transfer.export import export_lines
from swarm_operator.memory.transfer.importer import BadLineError, Existing, Importer, Outcome

EXPORT: Final = b"/v1/export"
IMPORT: Final = b"/v1/import"
_NDJSON: Final = (b"content-type", NDJSON.encode())
_COUNTS: Final = {name: whole() for name in ("lines", "created", "updated", "unchanged", "kept", "expired")}
_IMPORTED: Final = object_of({**_COUNTS, "complete": {"type": "boolean"}}, (*_COUNTS, "complete"))
_EXPORT: Final = Operation(
    "GET",
    EXPORT.decode(),
    "export",
    "The swarm as lines of JSON: the namespaces that start with swarm:, or these, or all.",
    {200: Answer("Lines of JSON.", {"type": "string"}, NDJSON)},
    query={"namespace": array(NAMESPACE), "all": SWITCH},
    streams=True,
    subject="an export",
)
_IMPORT: Final = Operation(
    "POST",
    IMPORT.decode(),
    "import",
    "Take such lines; may be repeated.",
    {200: Answer("What was done.", _IMPORTED)},
    query={
        "existing": one_of(
            "What becomes of an entry that is there with another value. newer: the line's updatedAt decides.",
            *Existing,
            default=Existing.OVERWRITE,
        ),
        "report": one_of("lines: NDJSON, the outcome of each line.", "summary", "lines", default="summary"),
    },
    body={"type": "string"},
    body_needed=False,
    media_type=NDJSON,
    writes=False,  # the error response reports the progress of the import
    streams=True,
    subject="an import",
)
OPERATIONS: Final = (_EXPORT, _IMPORT)
_CHUNK: Final = 64 * 1024
_LINE_OVERHEAD: Final = 2 * 1024 * 1024
"""Bytes that a line may have in addition to its value."""
_TURN: Final = 0.001
"""Seconds after which an import lets other requests run."""
_DRAINED: Final = 64 * 1024 * 1024
_NAMES: Final = {outcome: outcome.name.lower() for outcome in Outcome}
_COUNTED: Final = (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.KEPT, Outcome.EXPIRED)


async def _export(call: Call) -> Stream:
    query = call.query_lists()
    namespaces: list[str] | None = [check_namespace(name) for name in query.get("namespace", [])]
    whole = boolean({name: values[0] for name, values in query.items()}, "all") or False
    if whole and namespaces:
        raise InvalidInputError("all", "not together with namespace")
    for name in namespaces or ():
        call.credential.principal.check_read(name)  # before the response starts
    return Stream(200, _exported(call, namespaces if whole or namespaces else None), (_NDJSON,))


async def _exported(call: Call, namespaces: list[str] | None) -> AsyncGenerator[bytes, None]:
    with call.context.quotas.exports.holding(call.credential.principal):
        async for chunk in _chunks(export_lines(call.store, namespaces=namespaces)):
            yield chunk


async def _import(call: Call) -> Reply | Stream:
    call.credential.principal.check_writer()  # before the body is read
    query = call.query()
    for name, schema in _IMPORT.query.items():
        if query.get(name, schema["default"]) not in schema["enum"]:
            raise InvalidInputError(name, f"one of {', '.join(schema['enum'])}")
    with call.context.quotas.imports.holding(call.credential.principal):
        importer = Importer(call.store, Existing(query.get("existing", Existing.OVERWRITE)))
        body = call.stream()
        try:
            turn_ends = time.monotonic() + _TURN
            async for line in _lines(body, call.store.max_value_bytes + _LINE_OVERHEAD):
                if isinstance(line, int):
                    importer.skip(line)
                else:
                    await importer.add(line)
                if time.monotonic() > turn_ends:
                    # Lines without a write, such as empty lines, would never yield to the event loop.
                    await asyncio.sleep(0)
                    turn_ends = time.monotonic() + _TURN
            await importer.finish()
        except (MemoryStoreError, ForbiddenError) as error:
            # A client that is still sending would see a reset instead of the response.
            drained = 0
            async for chunk in body:
                drained += len(chunk)
                if drained > _DRAINED:
                    break
            members = {"line": error.line} if isinstance(error, BadLineError) else {}
            raise ImportFailedError(error, {**members, "imported": _summary(importer)}) from error
    if query.get("report") == "lines":
        return Stream(200, _chunks(_report(importer)), (_NDJSON,))
    return json_reply(_summary(importer))


async def _chunks(lines: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the lines joined to chunks of at least _CHUNK bytes, to reduce writes to the socket."""
    held: list[bytes] = []
    size = 0
    async for line in lines:
        held.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield b"".join(held)
            held.clear()
            size = 0
    if held:
        yield b"".join(held)


async def _lines(body: AsyncIterator[bytes], longest: int) -> AsyncIterator[bytes | int]:
    """Yield the lines of a body, or how many empty lines follow.

    Raises:
        BadLineError: a line is over the limit. Raised before the whole line is in memory.
    """
    held = bytearray()
    number = 1
    async for chunk in body:
        if b"\n" in chunk and not chunk.strip() and not held.strip():
            # Line by line, 16 MiB of empty lines would keep the event loop busy for seconds.
            count = chunk.count(b"\n")
            yield count
            number += count
            held = bytearray(chunk[chunk.rfind(b"\n") + 1 :])
            continue
        searched = len(held)
        held += chunk
        start = 0
        while (end := held.find(b"\n", max(start, searched))) >= 0:
            yield bytes(held[start:end])
            number += 1
            start = end + 1
        del held[:start]
        if len(held) > longest:
            raise BadLineError(number, "line", f"at most {longest} bytes")
    if held:
        yield bytes(held)


def _summary(importer: Importer) -> dict[str, Any]:
    counts = {_NAMES[outcome]: importer.counts.get(outcome, 0) for outcome in _COUNTED}
    return {"lines": importer.lines, **counts, "complete": importer.complete}


async def _report(importer: Importer) -> AsyncIterator[bytes]:
    for number, outcome in enumerate(importer.outcomes, start=1):
        if outcome != Outcome.NONE:
            yield b'{"line":%d,"outcome":"%s"}\n' % (number, _NAMES[Outcome(outcome)].encode())
    yield orjson.dumps(_summary(importer), option=orjson.OPT_APPEND_NEWLINE)


ENDPOINTS: Final = (Endpoint(_EXPORT, _export), Endpoint(_IMPORT, _import))
