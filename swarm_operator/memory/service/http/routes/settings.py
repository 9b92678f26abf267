"""Operations `/admin/settings`: settings that can be changed while the service runs.

Flags and the environment give their values at the next start.
"""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service import documents
from swarm_operator.memory.service.access import audit
from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, json_reply
from swarm_operator.memory.service.http.operation import Answer, Operation
from swarm_operator.memory.service.json_schema import Schema, number, object_of, one_of, whole
from swarm_operator.shared import limits
from swarm_operator.shared.log_level import LEVELS, log_level, set_log_level

_LOG_LEVEL: Final = "log_level"
_SETTINGS: Final[dict[str, Schema]] = {
    "cache_size": whole(
        "Maximum number of cached entries.", least=limits.CACHE_SIZE.least, most=limits.CACHE_SIZE.most
    ),
    "cache_memory_mb": whole(
        "Maximum size of cached entries in MiB.", least=limits.CACHE_MEMORY_MB.least, most=limits.CACHE_MEMORY_MB.most
    ),
    "compression_threshold": whole(
        "Bytes above which values that are written are compressed; 0: none.",
        least=limits.COMPRESSION_THRESHOLD.least, most=limits.COMPRESSION_THRESHOLD.most,
    ),
    "gc_interval_seconds": number(
        "Seconds between garbage collections.", least=limits.GC_INTERVAL.least, most=limits.GC_INTERVAL.most
    ),
    "enable_vacuum": {"type": "boolean", "description": "Whether collections give empty pages back."},
    "search_language": one_of("Language whose endings searches ignore.", *limits.SEARCH_LANGUAGES),
    _LOG_LEVEL: one_of("Minimum level of the log.", *LEVELS),
}  # fmt: skip
_ANSWER: Final = {200: Answer("The settings in force.", object_of(_SETTINGS, tuple(_SETTINGS)))}
_READ: Final = Operation(
    "GET", "/admin/settings", "settings", "Settings that can be changed while the service runs.", _ANSWER, admin=True
)
_CHANGE: Final = Operation(
    "PATCH",
    "/admin/settings",
    "settings-change",
    "Change settings until the next start. All are checked before any is changed.",
    _ANSWER,
    body=object_of(_SETTINGS),
    body_needed=False,
    admin=True,
)


async def _read(call: Call) -> Reply:
    call.query()
    return json_reply(_in_force(call))


async def _change(call: Call) -> Reply:
    changes = call.members()
    for name, value in changes.items():
        _check(name, value, _SETTINGS[name])
    call.store.configure(**{documents.SETTINGS[name]: changes[name] for name in changes.keys() - {_LOG_LEVEL}})
    if changes:
        audit.record(call.operation.name, call.credential.principal.name, **changes)
    if _LOG_LEVEL in changes:
        set_log_level(changes[_LOG_LEVEL])
    return json_reply(_in_force(call))


def _in_force(call: Call) -> dict[str, Any]:
    settings = call.store.settings
    return {
        name: log_level() if name == _LOG_LEVEL else settings[documents.SETTINGS[name]]
        for name in _SETTINGS
    }  # fmt: skip


def _check(name: str, value: Any, schema: Schema) -> None:
    """Raise InvalidInputError unless the schema of a setting allows the value."""
    if "enum" in schema:
        valid, allowed = value in schema["enum"], f"one of {', '.join(schema['enum'])}"
    elif schema["type"] == "boolean":
        valid, allowed = type(value) is bool, "true or false"
    else:
        least, most = schema["minimum"], schema["maximum"]
        types: tuple[type, ...] = (int,) if schema["type"] == "integer" else (int, float)
        valid = type(value) in types and least <= value <= most
        allowed = f"a {'whole ' if types == (int,) else ''}number from {least} to {most}"
    if not valid:
        raise InvalidInputError(name, allowed)


ENDPOINTS: Final = (Endpoint(_READ, _read), Endpoint(_CHANGE, _change))
