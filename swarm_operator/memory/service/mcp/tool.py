"""Definition of a tool: its name, its arguments, the permissions that it requires, and its handler."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.rights import Credential, Principal
from swarm_operator.memory.service.errors import ForbiddenError
from swarm_operator.memory.service.json_schema import Schema
from swarm_operator.memory.service.mcp.budget import Budget
from swarm_operator.memory.service.peers import Peers
from swarm_operator.memory.service.quotas import Quota
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.swarm import Swarm

Arguments: TypeAlias = "dict[str, Any]"


@contextlib.contextmanager
def naming(**arguments: str) -> Iterator[None]:
    """Rename fields in errors to the tool's arguments: `naming(glob="pattern")` if the store's field is `glob`."""
    try:
        yield
    except InvalidInputError as error:
        name, bracket, rest = error.field.partition("[")
        if name not in arguments:
            raise
        raise InvalidInputError(arguments[name] + bracket + rest, error.allowed) from None


@dataclass(frozen=True, slots=True)
class Call:
    """Context of a tool call.

    Attributes:
        store: the store, which checks the caller's permissions.
        credential: credential of the caller.
        budget: size limit of the response.
        metrics: metrics of the service.
        peers: memories to synchronize with.
        restores: limit of concurrent restores of backups; each takes disk space for a copy.
        data_dir: the directory of the database.
    """

    store: Store
    credential: Credential
    budget: Budget
    metrics: ServiceMetrics
    peers: Peers
    restores: Quota
    data_dir: Path

    @property
    def swarm(self) -> Swarm:
        """Return the swarm's records in the caller's store."""
        return Swarm(self.store)


Handler: TypeAlias = "Callable[[Call, Arguments], Awaitable[dict[str, Any]]]"


@dataclass(frozen=True, slots=True)
class Tool:
    """MCP tool.

    Attributes:
        name: name of the tool.
        description: description for the model.
        operation: operation name in the duration metric, as for HTTP; or a function from the arguments to the name.
        input: schema of the arguments; they are validated before `handler` is called.
        handler: function that executes the tool; may raise RequestError and MemoryStoreError.
        namespace: namespace that every call reads, or writes unless `read_only`; None: all namespaces; "": the
            namespaces that the arguments name.
        admin: whether the tool requires the admin token.
        read_only: whether the tool never changes data.
        destructive: whether the tool may delete or overwrite data.
        idempotent: whether a repeated call with the same arguments has no further effect.
    """

    name: str
    description: str
    operation: str | Callable[[Arguments], str]
    input: Schema
    handler: Handler
    namespace: str | None = ""
    admin: bool = False
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False

    def usable_by(self, principal: Principal) -> bool:
        """Return whether the principal's permissions suffice for some call; a model is not shown other tools."""
        try:
            if self.admin:
                principal.check_admin()
            if not self.read_only:
                principal.check_writer()
            if self.namespace != "":
                principal.check_read(self.namespace)
        except ForbiddenError:
            return False
        return True
