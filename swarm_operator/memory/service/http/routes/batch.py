"""Operation `POST /v1/batch`: several operations in one request, on plain ASGI like the single operations.

The writes form one transaction, in their order. The gets run after the commit, so they see the batch's writes.
"""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core import Delete, Draft, MemoryStoreError, Put, strict_json, vectors
from swarm_operator.memory.core.duplicates import CheckedWrite, DuplicateRule
from swarm_operator.memory.core.entry import (
    MAX_BATCH_SIZE,
    MAX_VERSION,
    Identity,
    check_batch_size,
    check_key,
    check_namespace,
)
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.threads import LARGE_BYTES, run_on_thread
from swarm_operator.memory.core.writes import Write
from swarm_operator.memory.service import batches
from swarm_operator.memory.service.asgi import JSON, Reply, check_members, problem_reply
from swarm_operator.memory.service.documents import entry_head, entry_whole, written
from swarm_operator.memory.service.errors import NotFoundError
from swarm_operator.memory.service.http.endpoint import Call, Endpoint
from swarm_operator.memory.service.http.operation import Answer, Operation, reference
from swarm_operator.memory.service.http.schemas import KEY, NAMESPACE, RULE, WRITTEN
from swarm_operator.memory.service.json_schema import Schema, array, nullable, object_of, whole
from swarm_operator.memory.service.pieces import in_pieces
from swarm_operator.memory.service.problems import describe


def _identity(name: str) -> dict[str, Schema]:
    return {"op": {"const": name}, "namespace": NAMESPACE, "key": KEY}


PATH: Final = b"/v1/batch"
ROUTE: Final = "/v1/batch"
_CONDITION: Final = {"if_version": nullable(whole("Only if it has this version.", least=1, most=MAX_VERSION))}
_KINDS: Final = {
    "put": object_of(
        {
            **_identity("put"),
            **WRITTEN,
            **RULE,
            "create_only": {"type": "boolean", "default": False},
            **_CONDITION,
        },
        ("op", "namespace", "key", "value"),
    ),
    "delete": object_of({**_identity("delete"), **_CONDITION}, ("op", "namespace", "key")),
    "get": object_of(_identity("get"), ("op", "namespace", "key")),
}
_MEMBERS: Final = {name: frozenset(shape["properties"]) for name, shape in _KINDS.items()}
_RESULT: Final = object_of(
    {
        "status": whole("As the operation alone would be answered."),
        "entry": {"anyOf": [reference("Entry"), reference("EntryHead")]},
        "problem": reference("Problem"),
    },
    ("status",),
)
OPERATIONS: Final = (
    Operation(
        "POST",
        ROUTE,
        "batch",
        "Carry out up to 1000 operations, in one transaction.",
        {200: Answer("A result for each.", object_of({"results": array(_RESULT)}, ("results",)))},
        body=object_of(
            {
                "operations": array({"oneOf": list(_KINDS.values())}, most=MAX_BATCH_SIZE),
                "atomic": {"type": "boolean", "default": True, "description": "All or none."},
            },
            ("operations",),
        ),
        conflicts=(409, 412),
        writes=False,  # a batch may consist of gets
        subject="a batch",
    ),
)
_BODY: Final = frozenset(OPERATIONS[0].members)


async def _batch(call: Call) -> Reply:
    large = len(call.body) > LARGE_BYTES
    atomic, operations = await run_on_thread(_parse, call.body) if large else _parse(call.body)
    done = await batches.run(call.store, operations, atomic=atomic)
    results = await in_pieces(_render, operations, done)
    return Reply(200, b'{"results":[' + b",".join(results) + b"]}", (JSON,))


def _parse(body: bytes) -> tuple[bool, list[Write | Identity]]:
    document: Any = strict_json.parse_document("body", body, levels=None)
    if type(document) is not dict or type(document.get("operations")) is not list:
        raise InvalidInputError("body", 'a JSON object with the list "operations"')
    check_members("body", document, _BODY)
    atomic = document.get("atomic", True)
    if type(atomic) is not bool:
        raise InvalidInputError("atomic", "true (all or none) or false")
    check_batch_size("operations", len(document["operations"]))
    operations: list[Write | Identity] = []
    for index, item in enumerate(document["operations"]):
        try:
            operations.append(_operation(item))
        except InvalidInputError as error:
            raise InvalidInputError(f"operations[{index}].{error.field}", error.allowed) from None
    return atomic, operations


def _operation(item: Any) -> Write | Identity:
    name = item.get("op") if type(item) is dict else None
    if type(name) is not str or name not in _MEMBERS:
        raise InvalidInputError("op", f"one of {', '.join(_MEMBERS)}")
    if not item.keys() <= _MEMBERS[name]:
        check_members(name, item, _MEMBERS[name])
    if name != "put":
        identity = (check_namespace(item.get("namespace")), check_key(item.get("key")))
        return identity if name == "get" else Delete(identity, _version(item))
    if "value" not in item:
        raise InvalidInputError("value", "required, a JSON value")
    draft = Draft.create(
        item.get("namespace"),
        item.get("key"),
        item["value"],
        tags=item.get("tags"),
        metadata=item.get("metadata"),
        ttl=item.get("ttl"),
        vector=vectors.from_json(item.get("vector")),
    )
    create_only, if_version = item.get("create_only", False), _version(item)
    if type(create_only) is not bool:
        raise InvalidInputError("create_only", "true or false")
    if create_only and if_version is not None:
        raise InvalidInputError("if_version", "not together with create_only")
    rule = DuplicateRule.create(item.get("on_duplicate"), item.get("threshold"))
    return Put(draft, create_only, if_version, rule)


def _version(item: dict[str, Any]) -> int | None:
    version = item.get("if_version")
    if version is not None and (type(version) is not int or not 1 <= version <= MAX_VERSION):
        raise InvalidInputError("if_version", "a version, a whole number from 1 up")
    return version


def _render(operation: Write | Identity, result: Any) -> bytes:
    if isinstance(result, MemoryStoreError):
        return _failure(result)
    if isinstance(result, CheckedWrite):
        return b'{"status":%d,"entry":%s}' % (201 if result.created else 200, written(result))
    if isinstance(operation, Put):
        entry, created = result
        return b'{"status":%d,"entry":%s}' % (201 if created else 200, entry_head(entry))
    if not result:  # no entry was found, or deleted
        return _failure(NotFoundError("there is no such entry"))
    return b'{"status":204}' if isinstance(operation, Delete) else b'{"status":200,"entry":%s}' % entry_whole(result)


def _failure(error: MemoryStoreError | NotFoundError) -> bytes:
    reply = problem_reply(describe(error))
    return b'{"status":%d,"problem":%s}' % (reply.status, reply.body)


ENDPOINTS: Final = (Endpoint(OPERATIONS[0], _batch, parses=True),)
