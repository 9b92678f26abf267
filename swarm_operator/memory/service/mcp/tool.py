"""What a tool is: a name, its schemas, and a function from arguments to an answer."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.slots import Slots
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.rights import Principal
from swarm_operator.memory.service.json_schema import Schema
from swarm_operator.memory.service.mcp.budget import Budget
from swarm_operator.memory.service.peers import Peers
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.swarm import Swarm

Arguments: TypeAlias = "dict[str, Any]"


@contextlib.contextmanager
def naming(**arguments: str) -> Iterator[None]:
    """Let errors name the argument that the caller knows: `naming(glob="pattern")` where the engine says glob."""
    try:
        yield
    except InvalidInputError as error:
        name, bracket, rest = error.field.partition("[")
        if name not in arguments:
            raise
        raise InvalidInputError(arguments[name] + bracket + rest, error.allowed) from None


@dataclass(frozen=True, slots=True)
class Call:
    """What a tool works with.

    Attributes:
        store: the store, which checks the caller's permissions.
        principal: the caller.
        budget: how long the answer may be.
        metrics: the service's.
        peers: other memories.
        restores: slots of restores of backups; each takes disk space for a copy.
        data_dir: the directory of the database.
    """

    store: Store
    principal: Principal
    budget: Budget
    metrics: ServiceMetrics
    peers: Peers
    restores: Slots
    data_dir: Path

    @property
    def swarm(self) -> Swarm:
        """Return the records of the swarm, in the caller's store."""
        return Swarm(self.store)


Handler: TypeAlias = "Callable[[Call, Arguments], Awaitable[dict[str, Any]]]"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool.

    Attributes:
        name: how it is called.
        description: for the model.
        operation: what its time is counted as in the metrics, as HTTP's is; or what names it from the arguments.
        input: the schema of its arguments, which have been checked against it when `handler` gets them.
        output: the schema of its answer.
        handler: what answers; raises RequestError and MemoryStoreError.
        read_only: it changes nothing.
        destructive: it may delete or overwrite.
        idempotent: called again with the same arguments it changes nothing more.
    """

    name: str
    description: str
    operation: str | Callable[[Arguments], str]
    input: Schema
    output: Schema
    handler: Handler
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
