"""Finds a tool, checks its arguments, calls it, answers what goes wrong, counts.

What goes wrong in a tool is an answer with `isError`, which the model reads: the code that HTTP's problems have, what
is allowed, and whether it helps to try again. Only an unknown tool is an error of the protocol.
"""

from __future__ import annotations

import time
from typing import Any, Final

import orjson
import structlog
from jsonschema import Draft202012Validator

from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.errors import PeerError, RequestError
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.budget import Budget
from swarm_operator.memory.service.mcp.metrics import OTHER, McpMetrics, Outcome
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.service.mcp.tools import TOOLS
from swarm_operator.memory.service.peers import Peers
from swarm_operator.memory.service.problems import reply_to
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.swarm import Swarm
from swarm_operator.memory.transfer.restore import Restorer

_DEFECT: Final = {"code": "internal", "message": "a defect of the service; its log has the details", "retry": False}
_TEMPORARY: Final = frozenset({"overloaded", "closed"})

_log = structlog.get_logger(__name__)


class UnknownToolError(Exception):
    """There is no tool of this name."""


class Answer:
    """What a tool said.

    Attributes:
        document: a JSON object.
        text: the same as JSON text.
        failed: it is an error.
    """

    __slots__ = ("document", "failed", "text")

    def __init__(self, document: dict[str, Any], *, failed: bool = False) -> None:
        self.document = document
        self.text = orjson.dumps(document).decode()
        self.failed = failed


class Toolbox:
    """All tools, on one store."""

    def __init__(
        self,
        store: Store,
        *,
        peers: Peers,
        metrics: ServiceMetrics,
        mcp_metrics: McpMetrics,
        max_answer_bytes: int,
    ) -> None:
        self._peers = peers
        self._store = store
        self._swarm = Swarm(store)
        self._restorer = Restorer()
        self._budget = Budget(max_answer_bytes)
        self._metrics = metrics
        self._counted = mcp_metrics
        self._tools = {tool.name: (tool, Draft202012Validator(tool.input)) for tool in TOOLS}

    @property
    def tools(self) -> list[Tool]:
        """In the order in which they are listed."""
        return [tool for tool, _ in self._tools.values()]

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """Of a tool; None when there is none of this name."""
        found = self._tools.get(name)
        return None if found is None else found[0].input

    async def call(self, name: str, arguments: Arguments | None) -> Answer:
        """Call a tool. Raises UnknownToolError and nothing else."""
        found = self._tools.get(name)
        if found is None:
            self._counted.called(OTHER, Outcome.REFUSED)
            raise UnknownToolError(f"there is no tool {name[:64]!r}")
        tool, validator = found
        arguments = arguments or {}
        try:
            schemas.check(validator, arguments)
            started = time.perf_counter()
            call = Call(self._store, self._swarm, self._budget, self._metrics, self._peers, self._restorer)
            answer = Answer(await tool.handler(call, arguments))
        except (MemoryStoreError, RequestError) as error:
            return self._failed(tool, error)
        except Exception as error:  # noqa: BLE001 - the last line of defence, as in app
            return self._failed(tool, error)
        operation = tool.operation if isinstance(tool.operation, str) else tool.operation(arguments)
        self._metrics.operations[operation].observe(time.perf_counter() - started)
        self._counted.called(tool.name, Outcome.OK)
        return answer

    def _failed(self, tool: Tool, error: Exception) -> Answer:
        document = error_document(error)
        code = document["code"]
        self._metrics.refused(code)
        theirs = code != "internal" and (isinstance(error, RequestError) or _status(error) < 500)
        self._counted.called(tool.name, Outcome.REFUSED if theirs else Outcome.FAILED)
        if code == "internal":
            _log.error("tool failed", tool=tool.name, exc_info=error)
        return Answer({"error": document}, failed=True)


def error_document(error: Exception) -> dict[str, Any]:
    """An error for the model: `code`, `message`, `retry`, and what else HTTP's problem would say."""
    if not isinstance(error, MemoryStoreError | RequestError):
        return dict(_DEFECT)
    problem = orjson.loads(reply_to(error).body)
    code = problem.pop("type").rpartition(":")[2]
    message = problem.pop("detail")
    status = problem.pop("status")
    problem.pop("title")
    temporary = isinstance(error, MemoryStoreError | PeerError) and error.transient
    retry = code in _TEMPORARY or (temporary and status != 507)
    return {"code": code, "message": message[:1000], "retry": retry, **problem}


def _status(error: Exception) -> int:
    assert isinstance(error, MemoryStoreError | RequestError)  # noqa: S101 - for mypy
    return reply_to(error).status
