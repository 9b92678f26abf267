"""Format of the token files. The memory service reads them, and the operator checks them in the Secret.

`client-token` and `admin-token` hold one token each. While they are being replaced, `former-client-token` and
`former-admin-token` hold those before, which give the same rights. `tokens.json`, if it exists, holds further tokens:

    {"tokens": [
        {"name": "dashboard", "token": "...", "access": "read"},
        {"name": "team-a", "token": "...", "access": "write", "namespaces": ["team-a"]}
    ]}

shared.access has the format of `access` and `namespaces`. These tokens never grant admin access.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from swarm_operator.shared import secret_list
from swarm_operator.shared.access import parse_access
from swarm_operator.shared.secret_list import NAME, SecretFormatError

CLIENT_FILE: Final = "client-token"
ADMIN_FILE: Final = "admin-token"
FORMER_FILES: Final = {CLIENT_FILE: "former-client-token", ADMIN_FILE: "former-admin-token"}
"""Optional files with the tokens before, by the files with those that replace them."""
FURTHER_FILE: Final = "tokens.json"

MAX_TOKEN_BYTES: Final = 4096
MAX_FILE_BYTES: Final = 256 * 1024
"""Of `tokens.json`."""
_MAX_TOKENS: Final = 100
"""A request's token is compared with all tokens, which takes about 10 microseconds."""
_RESERVED_NAMES: Final = ("client", "admin")
"""Names of the holders of the other two files' tokens."""
_TOKEN: Final = re.compile(r"[!-~]{16,4096}")
_MEMBERS: Final = frozenset({"name", "token", "access", "namespaces"})


@dataclass(frozen=True, slots=True)
class Token:
    """A further token.

    Attributes:
        name: name of its holder.
        value: the token.
        writes: whether it may change what it may read.
        namespaces: permitted namespaces, including those below them; None: all.
    """

    name: str
    value: bytes = field(repr=False)
    writes: bool
    namespaces: tuple[str, ...] | None


def check(files: Mapping[str, bytes]) -> None:
    """Check the contents of all token files, by their names.

    Raises:
        SecretFormatError: a file is missing or invalid; the message begins with the file's name.
    """
    former = {name: files[name] for name in FORMER_FILES.values() if name in files}
    main = parse_main({**{name: files.get(name) for name in FORMER_FILES}, **former})
    if FURTHER_FILE in files:
        parse_further(files[FURTHER_FILE], taken=main.values())


def parse_main(files: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return the tokens of files with one token each, by file. None is a file that does not exist.

    Raises:
        SecretFormatError: a file is not a token, or two are the same; the message begins with the file's name.
    """
    found: dict[str, bytes] = {}
    for name, text in files.items():
        token = (text or b"").strip()
        if not token:
            problem = "it is missing" if text is None else "it is empty"
            raise SecretFormatError(f"{name}: {problem}; one line with a token is allowed")
        if len(token) > MAX_TOKEN_BYTES or not all(0x21 <= byte <= 0x7E for byte in token):
            allowed = f"one line of at most {MAX_TOKEN_BYTES} printable ASCII characters"
            raise SecretFormatError(f"{name}: {allowed} is allowed")
        if token in found.values():
            raise SecretFormatError(f"{name}: two tokens are the same; a token of its own is allowed")
        found[name] = token
    return found


def parse_further(text: bytes, *, taken: Collection[bytes]) -> list[Token]:
    """Return the tokens of `tokens.json`.

    Args:
        text: content of the file.
        taken: the tokens of the other files.

    Raises:
        SecretFormatError: the file is invalid; the message begins with the file's name.
    """
    try:
        items = secret_list.parse(text, "tokens", max_bytes=MAX_FILE_BYTES, max_items=_MAX_TOKENS)
    except SecretFormatError as error:
        raise SecretFormatError(f"{FURTHER_FILE}: {error}") from None
    found: list[Token] = []
    names, values = set(_RESERVED_NAMES), set(taken)
    for index, item in enumerate(items):
        place = f"{FURTHER_FILE}: tokens[{index}]"
        token = _parse(place, item)
        if token.name in names:
            raise SecretFormatError(f"{place}.name: each has its own, other than {' and '.join(_RESERVED_NAMES)}")
        if token.value in values:
            raise SecretFormatError(f"{place}.token: two tokens are the same; a token of its own is allowed")
        names.add(token.name)
        values.add(token.value)
        found.append(token)
    return found


def _parse(place: str, item: Any) -> Token:
    if type(item) is not dict or not {"name", "token", "access"} <= item.keys() <= _MEMBERS:
        raise SecretFormatError(f"{place}: an object with name, token, access and, perhaps, namespaces is allowed")
    name, token = item["name"], item["token"]
    if type(name) is not str or not NAME.fullmatch(name):
        raise SecretFormatError(f"{place}.name: at most 63 of a-z, 0-9 and, between them, - are allowed")
    if type(token) is not str or not _TOKEN.fullmatch(token):
        raise SecretFormatError(f"{place}.token: 16 to 4096 printable ASCII characters without blanks are allowed")
    granted = parse_access(place, item)
    return Token(name, token.encode(), writes=granted.writes, namespaces=granted.namespaces)
