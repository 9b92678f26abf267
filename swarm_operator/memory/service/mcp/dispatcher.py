"""Lists tools; finds a tool, validates its arguments, calls the tool, maps errors and counts calls.

An error of a tool is a result with `isError`, which the model reads. The result has the code of the HTTP problem, the
allowed input, and whether a retry may succeed. Only an unknown tool is a protocol error.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.rights import AuthorizedStore, Credential, Principal
from swarm_operator.memory.service.errors import RequestError
from swarm_operator.memory.service.json_schema import Schema
from swarm_operator.memory.service.mcp.budget import Budget
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.service.mcp.tools import TOOLS, TOOLSETS
from swarm_operator.memory.service.mcp.toolsets import Toolset
from swarm_operator.memory.service.peers import Peers
from swarm_operator.memory.service.problems import Problem, describe
from swarm_operator.memory.service.quotas import Quota
from swarm_operator.memory.service.telemetry.metrics import OTHER, McpMetrics, Outcome, ServiceMetrics

_NAMES: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a JSON object",
    "array": "a list",
    "null": "null",
}

_NUMBERS: Final = frozenset({int, float})


def _items(validator: Validator, items: Schema, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    """Yield the errors of a list's items. A list of numbers is checked at once.

    jsonschema checks item by item: it would keep the event loop busy for 60 ms with the longest vector.
    """
    if items == {"type": "number"} and type(instance) is list and set(map(type, instance)) <= _NUMBERS:
        return
    yield from Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema)


_Validator: Final = validators.extend(Draft202012Validator, {"items": _items})

_log = structlog.get_logger(__name__)


class UnknownToolError(Exception):
    """No tool has this name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of a tool call.

    Attributes:
        text: JSON object as text.
        failed: whether the result is an error.
    """

    text: str
    failed: bool = False


def listed(toolsets: Iterable[Toolset], principal: Principal) -> list[Tool]:
    """Return the tools of the toolsets that the principal's permissions suffice for, in the order of TOOLS."""
    chosen = {tool.name for toolset in toolsets for tool in TOOLSETS[toolset]}
    return [tool for tool in TOOLS if tool.name in chosen and tool.usable_by(principal)]


class ToolDispatcher:
    """Dispatches calls to the tools of one store."""

    def __init__(
        self,
        store: Store,
        *,
        peers: Peers,
        metrics: ServiceMetrics,
        mcp_metrics: McpMetrics,
        budget: Budget,
        restores: Quota,
        data_dir: Path,
    ) -> None:
        self._peers = peers
        self._store = store
        self._data_dir = data_dir
        self._restores = restores
        self._budget = budget
        self._metrics = metrics
        self._counted = mcp_metrics
        self._tools = {tool.name: (tool, _Validator(tool.input)) for tool in TOOLS}

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """Return the input schema of a tool, or None if no tool has this name."""
        found = self._tools.get(name)
        return None if found is None else found[0].input

    async def call(self, name: str, arguments: Arguments | None, credential: Credential) -> Answer:
        """Call a tool and return its result. Raise only UnknownToolError."""
        found = self._tools.get(name)
        if found is None:
            self._counted.called(OTHER, Outcome.REFUSED)
            raise UnknownToolError(f"there is no tool {name[:64]!r}")
        tool, validator = found
        arguments = arguments or {}
        try:
            if tool.admin:
                credential.principal.check_admin()
            _check(validator, arguments)
            started = time.perf_counter()
            call = Call(
                store=AuthorizedStore(self._store, credential),
                credential=credential,
                budget=self._budget,
                metrics=self._metrics,
                peers=self._peers,
                restores=self._restores,
                data_dir=self._data_dir,
            )
            answer = Answer(_text(await tool.handler(call, arguments)))
        except Exception as error:  # noqa: BLE001 - unexpected errors are logged and returned as problems, as in app
            return self._failed(tool, error)
        operation = tool.operation if isinstance(tool.operation, str) else tool.operation(arguments)
        self._metrics.operations[operation].observe(time.perf_counter() - started)
        self._counted.called(tool.name, Outcome.OK)
        return answer

    def _failed(self, tool: Tool, error: Exception) -> Answer:
        problem = describe(error)
        self._metrics.refused(problem.code)
        refused = isinstance(error, RequestError) or problem.status < 500
        self._counted.called(tool.name, Outcome.REFUSED if refused else Outcome.FAILED)
        if problem.status == 500:
            _log.error("tool failed", tool=tool.name, exc_info=error)
        return Answer(_text({"error": error_document(problem)}), failed=True)


def _text(document: dict[str, Any]) -> str:
    return orjson.dumps(document).decode()


def error_document(problem: Problem) -> dict[str, Any]:
    """Return a problem as a document for a model: `code`, `message`, `retry`, and the problem's members."""
    return {
        "code": problem.code,
        "message": problem.detail[:1000],
        "retry": problem.transient,
        **problem.members,
    }


def _check(validator: Validator, arguments: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for the first invalid argument of a tool."""
    known = validator.schema["properties"]
    # Checked before the validator runs: the validator's message would list every unknown name.
    unknown = next((name for name in arguments if name not in known), None)
    if unknown is not None:
        allowed = f"one of {', '.join(known)}" if known else "there are none"
        raise InvalidInputError(unknown[:64], f"no such argument; {allowed}")
    error = next(validator.iter_errors(arguments), None)
    if error is not None:
        raise _explain(error)


def _explain(error: ValidationError) -> InvalidInputError:
    """Return a validation error in the format of the store's errors."""
    field = ""
    for part in error.absolute_path:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return InvalidInputError(
            f"{field}.{missing}" if field else missing, f"required: {_allowed(_of(error, missing))}"
        )
    return InvalidInputError(field or "arguments", _allowed(error.schema))


def _of(error: ValidationError, name: str) -> Schema:
    schema: Schema = error.schema["properties"][name]
    return schema


def _allowed(schema: Schema) -> str:
    """Return a description of the values that a schema allows."""
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kinds = schema.get("type", [])
    words = " or ".join(_NAMES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)) or "any JSON value"
    if "maxLength" in schema:
        words += f" of {schema['minLength']} to {schema['maxLength']} bytes"
    if "minimum" in schema and "maximum" in schema:
        words += f" from {schema['minimum']} to {schema['maximum']}"
    elif "exclusiveMinimum" in schema:
        words += f" greater than {schema['exclusiveMinimum']}"
        words += f" and up to {schema['maximum']}" if "maximum" in schema else ""
    elif "minimum" in schema:
        words += f" from {schema['minimum']}"
    if "maxItems" in schema or "minItems" in schema:
        words += f" of {schema.get('minItems', 0)} to {schema.get('maxItems', 'any number of')} items"
    return words
