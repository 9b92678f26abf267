"""Parses and renders the URIs of resources.

    memory://namespaces                 the namespaces
    memory://{namespace}                a namespace's keys
    memory://{namespace}/{key}          an entry

Both parts are percent-encoded except for letters, digits and `-._~`, so URI parsers do not interpret a slash, colon or
space in a name. A namespace named `namespaces` is written `%6Eamespaces`. URIs of parts of a long document have a
query: `?cursor=` for a list, `?offset=` for an entry.
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
    """Parsed URI of a resource.

    Attributes:
        namespace: namespace; None: all namespaces.
        key: key of an entry; None: the whole namespace.
        cursor: cursor of a list.
        offset: start of a part of an entry's value, in bytes.
    """

    namespace: str | None = None
    key: str | None = None
    cursor: str | None = None
    offset: int = 0

    @property
    def target(self) -> tuple[str | None, str | None]:
        """Return the namespace and key whose changes affect the resource."""
        return self.namespace, self.key


def parse(uri: str) -> Address:
    """Parse a URI. Raise InvalidInputError."""
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
    """Return the URI of a namespace or an entry."""
    if key is None:
        return _SCHEME + ("%6Eamespaces" if namespace == "namespaces" else quote(namespace, safe=""))
    # URI parsers remove the path segments . and .. (RFC 3986, section 5.2.4).
    name = quote(key, safe="") if key.strip(".") else key.replace(".", "%2E")
    return f"{_SCHEME}{quote(namespace, safe='')}/{name}"
