"""List of all operations, and the OpenAPI 3.1 document generated from the list."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

import orjson

import swarm_operator
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint
from swarm_operator.memory.service.http.operation import Answer, Operation, reference
from swarm_operator.memory.service.http.routes import (
    admin,
    backups,
    batch,
    entries,
    records,
    restores,
    settings,
    transfer,
    watch,
)
from swarm_operator.memory.service.http.schemas import KEY, NAMESPACE, SCHEMAS
from swarm_operator.memory.service.json_schema import Schema
from swarm_operator.memory.service.records.schemas import IDENTIFIER
from swarm_operator.memory.service.records.tasks import POOL

PATH: Final = b"/openapi.json"
_ITSELF: Final = Operation(
    "GET",
    PATH.decode(),
    "openapi",
    "This document.",
    {200: Answer("OpenAPI 3.1.", {"type": "object"})},
    open=True,
    timed=False,
)
_SHAPES: Final[dict[str, Schema]] = {
    **SCHEMAS,
    **records.SCHEMAS,
    "Backup": backups.SHAPE,
    "Restore": restores.SHAPE,
}
_PATH_PARAMETERS: Final = {
    "namespace": NAMESPACE,
    "key": KEY,
    "id": IDENTIFIER,
    "name": backups.NAME,
    "pool": POOL,
}
_BRACES: Final = re.compile(r"{(\w+)}")
_REFUSALS: Final = {
    400: "Something is not allowed; `field` says what, `allowed` what is.",
    401: "No valid token.",
    403: "The token may not do that.",
    404: "There is none.",
    408: "The body stopped arriving.",
    409: "The record's state does not allow it; `reason` says why.",
    410: "The watch can't go on from there; `oldest` is the first position that it can.",
    412: "A condition was not met; `current_version` says what there is.",
    413: "The body is too long.",
    415: "The body is compressed, or is no JSON.",
    429: "Too much at once; nothing was done.",
    500: "A defect of the service.",
    502: "The destination of backups failed.",
    503: "Stopping, or the file or the disk failed.",
    507: "The disk is full; nothing was done.",
}
_ETAG: Final = {"ETag": {"description": "The version in quotes.", "schema": {"type": "string"}}}
_ANYWHERE: Final = (400, 401, 403, 429, 500, 503)
_WITH_BODY: Final = (408, 413, 415)


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "swarm-memory",
            "version": swarm_operator.__version__,
            "summary": "The durable memory of a swarm of agents.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": _SHAPES,
            "responses": {
                f"Problem{status}": {
                    "description": words,
                    "content": {"application/problem+json": {"schema": reference("Problem")}},
                }
                for status, words in _REFUSALS.items()
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}
        for name in _BRACES.findall(operation.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": name in operation.needed, **_parameter(schema)}
        for name, schema in operation.query.items()
    ]
    parameters += [{"name": name, "in": "header", "schema": schema} for name, schema in operation.headers.items()]
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": ["admin" if operation.admin else operation.path.split("/")[-1 if operation.open else 2]],
        "parameters": parameters,
        "responses": {str(status): _answered(answer) for status, answer in operation.answers.items()}
        | {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in _refusals(operation)},
    }
    if operation.body is not None:
        content = {operation.media_type: {"schema": operation.body}}
        described["requestBody"] = {"required": operation.body_needed, "content": content}
    if operation.open:
        described["security"] = []
    return described


def _parameter(schema: Schema) -> dict[str, Any]:
    """Return the description of a parameter; `content` with a media type if the parameter holds a document."""
    if "contentSchema" in schema:
        return {"content": {schema["contentMediaType"]: {"schema": schema["contentSchema"]}}}
    return {"schema": schema}


def _answered(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.versioned:
        described["headers"] = _ETAG
    if answer.schema is not None:
        described["content"] = {answer.media_type: {"schema": answer.schema}}
    return described


def _refusals(operation: Operation) -> list[int]:
    if operation.open:
        return [503]
    statuses = {*_ANYWHERE, *operation.conflicts}
    if operation.method != "GET":
        statuses.add(507)
    if operation.body is not None:
        statuses.update(_WITH_BODY)
    return sorted(statuses)


@functools.cache
def _rendered() -> bytes:
    return orjson.dumps(document())


async def _openapi(_: Call) -> Reply:
    return Reply(200, _rendered(), (JSON,))


ENDPOINTS: Final = (
    *entries.ENDPOINTS,
    *batch.ENDPOINTS,
    *admin.ENDPOINTS,
    *watch.ENDPOINTS,
    *records.ENDPOINTS,
    *transfer.ENDPOINTS,
    *backups.ENDPOINTS,
    *restores.ENDPOINTS,
    *settings.ENDPOINTS,
    Endpoint(_ITSELF, _openapi),
)
"""All documented endpoints, in the order of the document."""
OPERATIONS: Final = tuple(endpoint.operation for endpoint in ENDPOINTS)
