"""`GET /v1/export` and `POST /v1/import`: the swarm as lines of JSON, on plain ASGI, in bounded memory.

An export that fails half-way breaks its connection off; it also lacks its last line. An import is answered when all of
it is on disk, or at the first line that is refused: what was written before that line's batch stays, and as an import
may be repeated, the same file can be sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import orjson
import structlog
from starlette.types import Receive, Send

from swarm_operator.memory.core import MemoryStoreError, limits
from swarm_operator.memory.core.errors import InvalidInputError, OverloadedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.principal import acting
from swarm_operator.memory.service.asgi import JSON, BodyReader, Reply, parse_query, parse_query_lists
from swarm_operator.memory.service.errors import ForbiddenError, WrongMethodError
from swarm_operator.memory.service.http.operation import NDJSON, SWITCH, Answer, Operation
from swarm_operator.memory.service.http.schemas import NAMESPACE
from swarm_operator.memory.service.json_schema import array, object_of, one_of, whole
from swarm_operator.memory.service.problems import reply_to
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.transfer.ndjson import BadLineError, Existing, Importer, Outcome, export_lines

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
)
OPERATIONS: Final = (_EXPORT, _IMPORT)
_CHUNK: Final = 64 * 1024
_MOST_AT_ONCE: Final = 4
"""Exports, and imports, that run at the same time; each import holds a batch and a line."""
_LINE_OVERHEAD: Final = 2 * 1024 * 1024
"""What a line may have besides its value."""
_DRAINED: Final = 64 * 1024 * 1024
_NAMES: Final = {outcome: outcome.name.lower() for outcome in Outcome}
_COUNTED: Final = (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED, Outcome.KEPT, Outcome.EXPIRED)
_SWITCH: Final = {"true": True, "false": False}

_log = structlog.get_logger(__name__)


class TransferRoutes:
    """Answers exports and imports."""

    def __init__(self, store: Store, metrics: ServiceMetrics, bodies: BodyReader) -> None:
        self._store = store
        self._metrics = metrics
        self._bodies = bodies
        self._longest_line = store.max_value_bytes + _LINE_OVERHEAD
        self._exports = 0
        self._imports = 0

    async def export(self, method: str, query_string: bytes, receive: Receive, send: Send) -> None:
        """Send an export.

        Raises:
            RequestError, MemoryStoreError: before anything was sent.
        """
        if method != "GET":
            raise WrongMethodError(f"an export has no method {method[:32]}", (b"allow", b"GET"))
        query = parse_query_lists(query_string, _EXPORT.parameters, repeated=_EXPORT.repeated)
        namespaces: list[str] | None = [limits.check_namespace(name) for name in query.get("namespace", [])]
        whole = _switch("all", query.get("all", ["false"])[0])
        if whole and namespaces:
            raise InvalidInputError("all", "not together with namespace")
        for name in namespaces or ():
            acting.get().check_read(name)  # now, while it can still be answered
        if self._exports >= _MOST_AT_ONCE:
            raise OverloadedError(f"{_MOST_AT_ONCE} exports are running, which is the most")
        self._exports += 1
        started = time.perf_counter()
        gone = asyncio.create_task(_gone(receive), name="memory-export-gone")
        try:
            lines = export_lines(self._store, namespaces=namespaces if whole or namespaces else None)
            self._metrics.answered(method, EXPORT.decode(), 200)
            await send({"type": "http.response.start", "status": 200, "headers": [_NDJSON]})
            async for chunk in _chunks(lines):
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except MemoryStoreError as error:
            # The answer has begun. Without its end the client sees that it was cut off.
            self._metrics.refused(error.code)
            _log.warning("export cut off", reason=str(error))
        finally:
            self._exports -= 1
            gone.cancel()
            self._metrics.operations["export"].observe(time.perf_counter() - started)

    async def import_(
        self, method: str, query_string: bytes, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """Take an import and answer it.

        Raises:
            RequestError, MemoryStoreError: before any of it was taken.
        """
        if method != "POST":
            raise WrongMethodError(f"an import has no method {method[:32]}", (b"allow", b"POST"))
        query = parse_query(query_string, _IMPORT.parameters)
        for name, schema in _IMPORT.query.items():
            if query.get(name, schema["default"]) not in schema["enum"]:
                raise InvalidInputError(name, f"one of {', '.join(schema['enum'])}")
        if self._imports >= _MOST_AT_ONCE:
            raise OverloadedError(f"{_MOST_AT_ONCE} imports are running, which is the most")
        self._imports += 1
        started = time.perf_counter()
        importer = Importer(self._store, Existing(query.get("existing", Existing.OVERWRITE)))
        body = self._bodies.stream(headers, receive)
        try:
            async for line in _lines(body, self._longest_line):
                await importer.add(line)
            await importer.finish()
        except (MemoryStoreError, ForbiddenError) as error:
            self._metrics.refused(error.code)
            # A client that is still sending would see a reset in place of the answer.
            drained = 0
            async for chunk in body:
                drained += len(chunk)
                if drained > _DRAINED:
                    break
            reply = _failed(error, importer)
            self._metrics.answered(method, IMPORT.decode(), reply.status)
            await reply.send(send)
        else:
            self._metrics.answered(method, IMPORT.decode(), 200)
            if query.get("report") == "lines":
                await _send_report(importer, send)
            else:
                await Reply(200, orjson.dumps(_summary(importer)), (JSON,)).send(send)
        finally:
            self._imports -= 1
            self._metrics.operations["import"].observe(time.perf_counter() - started)


def _switch(name: str, text: str) -> bool:
    if text not in _SWITCH:
        raise InvalidInputError(name, "true or false")
    return _SWITCH[text]


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _chunks(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines together, so that not each is a write to the socket."""
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


async def _lines(body: AsyncIterator[bytes], longest: int) -> AsyncIterator[bytes]:
    """The lines of a body. One that is too long is refused before it is held whole."""
    held = bytearray()
    number = 1
    async for chunk in body:
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


def _failed(error: MemoryStoreError | ForbiddenError, importer: Importer) -> Reply:
    reply = reply_to(error)
    document = orjson.loads(reply.body)
    if isinstance(error, BadLineError):
        document["line"] = error.line
    document["imported"] = _summary(importer)
    return Reply(reply.status, orjson.dumps(document), (*reply.headers, (b"connection", b"close")))


async def _send_report(importer: Importer, send: Send) -> None:
    async def lines() -> AsyncIterator[bytes]:
        for number, outcome in enumerate(importer.outcomes, start=1):
            if outcome != Outcome.NONE:
                yield b'{"line":%d,"outcome":"%s"}\n' % (number, _NAMES[Outcome(outcome)].encode())
        yield orjson.dumps(_summary(importer), option=orjson.OPT_APPEND_NEWLINE)

    await send({"type": "http.response.start", "status": 200, "headers": [_NDJSON]})
    async for chunk in _chunks(lines()):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
