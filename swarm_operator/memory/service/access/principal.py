"""Principals and their permissions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from swarm_operator.memory.core import limits
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.service.errors import ForbiddenError


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a token.

    Attributes:
        name: of the token; never the token itself.
        admin: may also do what concerns the whole store: collect garbage, clean up, back up.
        writes: may change what it may read.
        namespaces: only these and those below them; None: all.
    """

    name: str
    admin: bool = False
    writes: bool = True
    namespaces: tuple[str, ...] | None = None

    def check_read(self, namespace: str | None) -> None:
        """Raise ForbiddenError unless it may read in a namespace; None is all of them."""
        if self.namespaces is None:
            return
        if namespace is None or not covers(self.namespaces, limits.check_namespace(namespace)):
            raise _refusal()

    def check_write(self, namespace: str) -> None:
        """Raise ForbiddenError unless it may change entries in a namespace."""
        self.check_writer()
        self.check_read(namespace)

    def check_writer(self) -> None:
        """Raise ForbiddenError if it may only read."""
        if not self.writes:
            raise _refusal()

    def check_admin(self) -> None:
        """Raise ForbiddenError unless it is an admin."""
        if not self.admin:
            raise _refusal()


CLIENT: Final = Principal("client")
ADMIN: Final = Principal("admin", admin=True)


@dataclass(frozen=True, slots=True)
class Credential:
    """A token, as a request presented it.

    Attributes:
        principal: the holder of the token.
        still_valid: returns False once the token is no longer valid, or its permissions have changed.
    """

    principal: Principal
    still_valid: Callable[[], bool]


def _refusal() -> ForbiddenError:
    # Nothing about what there is, or what it would take.
    return ForbiddenError("this token may not do that")
