"""Reads `tokens.json`: additional tokens with their names and permissions.

    {"tokens": [
        {"name": "dashboard", "token": "...", "access": "read"},
        {"name": "team-a", "token": "...", "access": "write", "namespaces": ["team-a"]}
    ]}

`access` is `read`, or `write`, which includes `read`. `namespaces` limits a token to these namespaces and those below
them (`team-a` and `team-a/notes`, not `team-ab`); the default is all. These tokens never grant admin access.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from swarm_operator.memory.core.entry import check_namespace
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.access.json_file import NAME, read_list
from swarm_operator.memory.service.access.rights import ADMIN, CLIENT, Principal
from swarm_operator.memory.service.errors import BadTokenFileError

_MAX_BYTES: Final = 256 * 1024
_MAX_TOKENS: Final = 100
"""A request's token is compared with all tokens, which takes about 10 microseconds."""
_MAX_NAMESPACES: Final = 100
_TOKEN: Final = re.compile(r"[!-~]{16,4096}")
_MEMBERS: Final = frozenset({"name", "token", "access", "namespaces"})


def read(path: Path) -> list[tuple[bytes, Principal]]:
    """Return the tokens with their principals; an empty list if the file does not exist.

    Raises:
        BadTokenFileError: the file is invalid; the message names the location and what is allowed, never the content.
    """
    items = read_list(path, "tokens", max_bytes=_MAX_BYTES, max_items=_MAX_TOKENS)
    found: list[tuple[bytes, Principal]] = []
    names = {CLIENT.name, ADMIN.name}
    for index, item in enumerate(items):
        place = f"{path}: tokens[{index}]"
        token, principal = _parse(place, item)
        if principal.name in names:
            raise BadTokenFileError(f"{place}.name: each has its own, other than {CLIENT.name} and {ADMIN.name}")
        names.add(principal.name)
        found.append((token, principal))
    return found


def _parse(place: str, item: Any) -> tuple[bytes, Principal]:
    if type(item) is not dict or not {"name", "token", "access"} <= item.keys() <= _MEMBERS:
        raise BadTokenFileError(f"{place}: an object with name, token, access and, perhaps, namespaces is allowed")
    name, token, access = item["name"], item["token"], item["access"]
    if type(name) is not str or not NAME.fullmatch(name):
        raise BadTokenFileError(f"{place}.name: at most 63 of a-z, 0-9 and, between them, - are allowed")
    if type(token) is not str or not _TOKEN.fullmatch(token):
        raise BadTokenFileError(f"{place}.token: 16 to 4096 printable ASCII characters without blanks are allowed")
    if access not in ("read", "write"):
        raise BadTokenFileError(f"{place}.access: read or write is allowed")
    namespaces = item.get("namespaces")
    if namespaces is not None:
        if type(namespaces) is not list or not 0 < len(namespaces) <= _MAX_NAMESPACES:
            raise BadTokenFileError(f"{place}.namespaces: a list of 1 to {_MAX_NAMESPACES} namespaces is allowed")
        for number, namespace in enumerate(namespaces):
            try:
                check_namespace(namespace)
            except InvalidInputError as error:
                raise BadTokenFileError(f"{place}.namespaces[{number}]: allowed is {error.allowed}") from None
    limited = None if namespaces is None else tuple(namespaces)
    return token.encode(), Principal(name, writes=access == "write", namespaces=limited)
