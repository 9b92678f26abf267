"""Finds a tool, checks its arguments, calls it, answers what goes wrong, counts.

What goes wrong in a tool is an answer with `isError`, which the model reads: the code that HTTP's problems have, what
is allowed, and whether it helps to try again. Only an unknown tool is an error of the protocol.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import structlog
from jsonschema import Draft202012Validator

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.principal import Credential
from swarm_operator.memory.service.access.store import AuthorizedStore
from swarm_operator.memory.service.errors import RequestError
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.budget import Budget
from swarm_operator.memory.service.mcp.metrics import OTHER, McpMetrics, Outcome
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.service.mcp.tools import TOOLS
from swarm_operator.memory.service.peers import Peers
from swarm_operator.memory.service.problems import Problem, describe
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.transfer.restore import Restorer

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


class ToolDispatcher:
    """All tools, on one store."""

    def __init__(
        self,
        store: Store,
        *,
        peers: Peers,
        metrics: ServiceMetrics,
        mcp_metrics: McpMetrics,
        budget: Budget,
        data_dir: Path,
    ) -> None:
        self._peers = peers
        self._store = store
        self._data_dir = data_dir
        self._restorer = Restorer(data_dir)
        self._budget = budget
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

    async def call(self, name: str, arguments: Arguments | None, credential: Credential) -> Answer:
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
            call = Call(
                store=AuthorizedStore(self._store, credential),
                principal=credential.principal,
                budget=self._budget,
                metrics=self._metrics,
                peers=self._peers,
                restorer=self._restorer,
                data_dir=self._data_dir,
            )
            answer = Answer(await tool.handler(call, arguments))
        except Exception as error:  # noqa: BLE001 - the last line of defence, as in app
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
        return Answer({"error": error_document(problem)}, failed=True)


def error_document(problem: Problem) -> dict[str, Any]:
    """Return a problem for a model: `code`, `message`, `retry`, and its further members."""
    return {
        "code": problem.code,
        "message": problem.detail[:1000],
        "retry": problem.transient,
        **problem.members,
    }
