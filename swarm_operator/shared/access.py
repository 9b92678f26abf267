"""Format of what a principal may do in the files of the memory service: `access` and `namespaces`.

`access` is `read`, or `write`, which includes `read`. `namespaces` limits the principal to these namespaces of the
memory and those below them (`team-a` and `team-a/notes`, not `team-ab`); the default is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from swarm_operator.shared.limits import NAMESPACE_BYTES
from swarm_operator.shared.secret_list import SecretFormatError

MAX_NAMESPACES: Final = 100


class Access(NamedTuple):
    """Permissions of a principal.

    Attributes:
        writes: whether the principal may change what it may read.
        namespaces: permitted namespaces, including those below them; None: all.
    """

    writes: bool
    namespaces: tuple[str, ...] | None


def parse_access(place: str, item: Mapping[str, Any]) -> Access:
    """Return the permissions in the members `access` and, if given, `namespaces` of an object.

    Raises:
        SecretFormatError: one of them is not allowed; the message begins with the place.
    """
    access, namespaces = item["access"], item.get("namespaces")
    if access not in ("read", "write"):
        raise SecretFormatError(f"{place}.access: read or write is allowed")
    if namespaces is None:
        return Access(access == "write", None)
    if type(namespaces) is not list or not 0 < len(namespaces) <= MAX_NAMESPACES:
        raise SecretFormatError(f"{place}.namespaces: a list of 1 to {MAX_NAMESPACES} namespaces is allowed")
    for number, namespace in enumerate(namespaces):
        if not _is_namespace(namespace):
            least, most = NAMESPACE_BYTES
            allowed = f"a string of {least} to {most} bytes of UTF-8 without NUL"
            raise SecretFormatError(f"{place}.namespaces[{number}]: allowed is {allowed}")
    return Access(access == "write", tuple(namespaces))


def _is_namespace(value: Any) -> bool:
    """Return whether the memory's core.entry.check_namespace allows a value of a JSON document."""
    least, most = NAMESPACE_BYTES
    return type(value) is str and least <= len(value.encode()) <= most and "\0" not in value
