"""Conversions of entries, changes and requests to and from the messages of memory.proto."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from swarm_operator.memory.core import Delete, Draft, Put, strict_json
from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.duplicates import CheckedWrite, DuplicateRule
from swarm_operator.memory.core.entry import MAX_VERSION, Entry, check_key, check_namespace
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.pages import Hit
from swarm_operator.memory.core.vectors import MAX_WIDTH
from swarm_operator.memory.service.grpc import memory_pb2 as pb

_OPS: Final = {Op.PUT: pb.WatchResponse.PUT, Op.DELETE: pb.WatchResponse.DELETE, Op.EXPIRE: pb.WatchResponse.EXPIRE}


def entry_message(entry: Entry, *, value: bool = True) -> pb.Entry:
    """Return an entry as a message, with or without its value."""
    return pb.Entry(
        namespace=entry.namespace,
        key=entry.key,
        version=entry.version,
        value=entry.value_json if value else b"",
        tags=orjson.loads(entry.tags_json),
        metadata=entry.metadata_json.encode(),
        ttl=entry.ttl,
        created_at=_timestamp(entry.created_at),
        updated_at=_timestamp(entry.updated_at),
        expires_at=None if entry.expires_at is None else _timestamp(entry.expires_at),
        accessed_at=None if entry.accessed_at is None else _timestamp(entry.accessed_at),
        updated_by=entry.updated_by,
    )


def hit_message(hit: Hit, rank: int, *, value: bool) -> pb.SearchResponse.Hit:
    """Return a hit as a message, with or without the value of its entry."""
    return pb.SearchResponse.Hit(
        entry=entry_message(hit.entry, value=value),
        score=hit.score,
        rank=None if hit.score is None else rank,
        words=hit.words,
        cosine=hit.cosine,
        snippet=hit.snippet,
        matched=hit.matched,
    )


def put(request: pb.PutRequest) -> Put:
    """Return the write that a request describes. Raise InvalidInputError."""
    check_namespace(request.namespace)  # checked before the value, which costs more
    check_key(request.key)
    draft = Draft.create(
        request.namespace,
        request.key,
        strict_json.parse_document("value", request.value),
        tags=list(request.tags),
        metadata=metadata_of(request.metadata),
        ttl=request.ttl,
        vector=vector_of(request.vector),
    )
    condition = request.WhichOneof("condition")
    if_version = _version(request.if_version) if condition == "if_version" else None
    rule = DuplicateRule.create(
        request.on_duplicate if request.HasField("on_duplicate") else None,
        request.threshold if request.HasField("threshold") else None,
    )
    return Put(draft, condition == "create_only" and request.create_only, if_version, rule)


def put_response(done: tuple[Entry, bool] | CheckedWrite) -> pb.PutResponse:
    """Return the result of a write as a message."""
    entry, created, *_ = done
    twin = done.twin if isinstance(done, CheckedWrite) else None
    return pb.PutResponse(
        entry=entry_message(entry, value=False),
        created=created,
        duplicate=None if twin is None else pb.PutResponse.Duplicate(key=twin.key, cosine=twin.cosine),
    )


def deletion(request: pb.DeleteRequest) -> Delete:
    """Return the deletion that a request describes. Raise InvalidInputError."""
    identity = (check_namespace(request.namespace), check_key(request.key))
    return Delete(identity, _version(request.if_version) if request.HasField("if_version") else None)


def metadata_of(document: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a document; None if the document is empty. Raise InvalidInputError."""
    if not document:
        return None
    metadata: Any = strict_json.parse_document("metadata", document)
    if type(metadata) is not dict:
        raise InvalidInputError("metadata", "a JSON object")
    return metadata


def vector_of(numbers: Sequence[float]) -> list[float] | None:
    """Return a vector for the store; None if there are no numbers."""
    # The store refuses a longer vector. A message has room for millions of numbers, which would be objects in a list.
    return list(numbers[: MAX_WIDTH + 1]) or None


def milliseconds(moment: Timestamp) -> int:
    """Return the milliseconds since the Unix epoch."""
    return int(moment.seconds) * 1000 + int(moment.nanos) // 1_000_000


def change_event(change: Change) -> pb.WatchResponse:
    """Return a change as an event of a watch."""
    return pb.WatchResponse(
        change=pb.WatchResponse.Change(
            position=change.seq,
            op=_OPS[Op(change.op)],
            namespace=change.namespace,
            key=change.key,
            version=change.version,
            at=_timestamp(change.at),
            updated_by=change.updated_by,
        )
    )


def _version(version: int) -> int:
    if not 1 <= version <= MAX_VERSION:
        raise InvalidInputError("if_version", "a version, a whole number from 1 up")
    return version


def _timestamp(ms: int) -> Timestamp:
    return Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)
