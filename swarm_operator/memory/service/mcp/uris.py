"""The addresses of resources.

    memory://namespaces                 the namespaces
    memory://{namespace}                a namespace's keys
    memory://{namespace}/{key}          an entry

Both parts are percent-encoded but for letters, digits and `-._~`, so that a slash, a colon or a space in a name means
nothing to those who take an address apart. A namespace that is called `namespaces` is written `%6Eamespaces`. Parts of
long answers have a query: `?cursor=` of a list, `?offset=` of an entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from swarm_operator.memory.core.entry import check_key, check_namespace
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.asgi import parse_query, percent_decode

NAMESPACES: Final = "memory://namespaces"
_SCHEME: Final = "memory://"
_ALLOWED: Final = f"{NAMESPACES}, memory://{{namespace}} or memory://{{namespace}}/{{key}}, percent-encoded"


@dataclass(frozen=True, slots=True)
class Address:
    """What an address names.

    Attributes:
        namespace: None: all namespaces.
        key: None: the namespace.
        cursor: of a list.
        offset: of a part of an entry's value.
    """

    namespace: str | None = None
    key: str | None = None
    cursor: str | None = None
    offset: int = 0

    @property
    def target(self) -> tuple[str | None, str | None]:
        """What changes when it does, whatever part is asked for."""
        return self.namespace, self.key


def parse(uri: str) -> Address:
    """Read an address. Raises InvalidInputError."""
    if not uri.startswith(_SCHEME) or not uri.isascii():
        raise InvalidInputError("uri", _ALLOWED)
    path, _, query_string = uri.removeprefix(_SCHEME).partition("?")
    query = parse_query(query_string.encode(), ("cursor", "offset"))
    offset = query.get("offset", "0")
    if not (offset.isascii() and offset.isdigit() and len(offset) < 16):
        raise InvalidInputError("offset", "a whole number from 0")
    namespace_raw, slash, key_raw = path.partition("/")
    if path == "namespaces":
        return Address(cursor=query.get("cursor"))
    namespace: str = check_namespace(percent_decode("uri", namespace_raw.encode()))
    key: str | None = check_key(percent_decode("uri", key_raw.encode())) if slash else None
    return Address(namespace, key, query.get("cursor"), int(offset))


def render(namespace: str, key: str | None = None) -> str:
    """The address of a namespace, or of an entry."""
    if key is None:
        return _SCHEME + ("%6Eamespaces" if namespace == "namespaces" else quote(namespace, safe=""))
    # Readers of addresses take . and .. away.
    name = quote(key, safe="") if key.strip(".") else key.replace(".", "%2E")
    return f"{_SCHEME}{quote(namespace, safe='')}/{name}"
