"""Who sends a request, and what they may do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
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
        """Raises ForbiddenError unless it may read there; None is everywhere. InvalidInputError: no namespace."""
        if self.namespaces is None:
            return
        if namespace is None or not covers(self.namespaces, limits.check_namespace(namespace)):
            raise _refusal()

    def check_write(self, namespace: str) -> None:
        """Raises ForbiddenError unless it may change entries there."""
        if not self.writes:
            raise _refusal()
        self.check_read(namespace)

    def check_admin(self) -> None:
        """Raises ForbiddenError unless it may do what concerns the whole store."""
        if not self.admin:
            raise _refusal()


CLIENT: Final = Principal("client")
ADMIN: Final = Principal("admin", admin=True)

acting: Final[ContextVar[Principal]] = ContextVar("acting")
"""Who the request at hand is from. Each protocol sets it before it asks the store."""

standing: Final[ContextVar[Callable[[], bool]]] = ContextVar("standing")
"""Whether its token still gives these rights, for answers that have no end: Tokens.standing. Set before a watch."""


@contextlib.contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Set `acting` for as long as this is entered."""
    token = acting.set(principal)
    try:
        yield
    finally:
        acting.reset(token)


def _refusal() -> ForbiddenError:
    # Nothing about what there is, or what it would take.
    return ForbiddenError("this token may not do that")
