"""Format of the file by which the memory service knows tokens of Kubernetes service accounts. The operator writes it.

    {"issuer": "https://kubernetes.default.svc.cluster.local",
     "keys": [{"kty": "RSA", "kid": "...", "alg": "RS256", "n": "...", "e": "AQAB"}],
     "accounts": [{"namespace": "swarm", "name": "my-cluster-agent", "access": "write", "namespaces": ["team-a"]}]}

`issuer` and `keys` are the cluster's: the issuer of its tokens, and its public keys as JSON Web Keys (RFC 7517). Keys
with which anybody could sign (`oct`) and private keys are not allowed. `accounts` are the service accounts that may use
the memory; shared.access has the format of `access` and `namespaces`, which are namespaces of the memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from swarm_operator.shared.access import Access, parse_access
from swarm_operator.shared.secret_list import SecretFormatError

FILE: Final = "service-accounts.json"
AUDIENCE: Final = "swarm-memory"
"""Audience of the tokens: one for another audience is not for the memory."""
FEATURE: Final = "service-account-tokens"
"""Feature in the statistics of a service that can verify the tokens: an earlier release ignores the file."""

MAX_FILE_BYTES: Final = 512 * 1024
MAX_ACCOUNTS: Final = 100
_MAX_KEYS: Final = 100
_MAX_TEXT: Final = 4096
_NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
_ALGORITHMS: Final = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}  # fmt: skip
"""Algorithms that a key may have, by its type. All are asymmetric."""


@dataclass(frozen=True, slots=True)
class ServiceAccountFile:
    """Parsed content of a file.

    Attributes:
        issuer: issuer of the tokens.
        keys: public keys as JSON Web Keys, by their `kid`.
        accounts: what each service account may do, by namespace and name.
    """

    issuer: str
    keys: Mapping[str, Mapping[str, Any]]
    accounts: Mapping[tuple[str, str], Access]


def parse(text: bytes) -> ServiceAccountFile:
    """Return the parsed content of a file.

    Raises:
        SecretFormatError: the content is not allowed; the message begins with the file's name.
    """
    if len(text) > MAX_FILE_BYTES:
        raise SecretFormatError(f"{FILE}: at most {MAX_FILE_BYTES} bytes")
    try:
        document = orjson.loads(text)
    except ValueError:
        raise SecretFormatError(f"{FILE}: JSON is allowed") from None
    if type(document) is not dict or document.keys() != {"issuer", "keys", "accounts"}:
        raise SecretFormatError(f"{FILE}: an object with issuer, keys and accounts is allowed")
    if not _is_text(document["issuer"]):
        raise SecretFormatError(f"{FILE}: issuer: a string of 1 to {_MAX_TEXT} characters is allowed")
    return ServiceAccountFile(
        issuer=document["issuer"],
        keys=dict(_key(place, item) for place, item in _items(document, "keys", _MAX_KEYS)),
        accounts=dict(_account(place, item) for place, item in _items(document, "accounts", MAX_ACCOUNTS)),
    )


def is_key(item: Mapping[str, Any]) -> bool:
    """Return whether a file may have this JSON Web Key. A file with any other is not read at all."""
    try:
        _key("", item)
    except SecretFormatError:
        return False
    return True


def _items(document: Mapping[str, Any], member: str, most: int) -> list[tuple[str, dict[str, Any]]]:
    items = document[member]
    if type(items) is not list or len(items) > most or not all(type(item) is dict for item in items):
        raise SecretFormatError(f"{FILE}: {member}: a list of at most {most} objects is allowed")
    return [(f"{FILE}: {member}[{index}]", item) for index, item in enumerate(items)]


def _key(place: str, item: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    if not _is_text(item.get("kid")):
        raise SecretFormatError(f"{place}.kid: a string of 1 to {_MAX_TEXT} characters is allowed")
    algorithms = _ALGORITHMS.get(item["kty"]) if type(item.get("kty")) is str else None
    if algorithms is None:
        raise SecretFormatError(f"{place}.kty: {', '.join(_ALGORITHMS)} are allowed")
    if item.get("alg", algorithms[0]) not in algorithms:
        raise SecretFormatError(f"{place}.alg: {', '.join(algorithms)} are allowed")
    if "d" in item:
        raise SecretFormatError(f"{place}: a public key is allowed")
    return item["kid"], item


def _account(place: str, item: dict[str, Any]) -> tuple[tuple[str, str], Access]:
    if not {"namespace", "name", "access"} <= item.keys() <= {"namespace", "name", "access", "namespaces"}:
        allowed = "an object with namespace, name, access and, perhaps, namespaces"
        raise SecretFormatError(f"{place}: {allowed} is allowed")
    for member in ("namespace", "name"):
        if type(item[member]) is not str or not _NAME.fullmatch(item[member]):
            raise SecretFormatError(f"{place}.{member}: a name of Kubernetes is allowed")
    return (item["namespace"], item["name"]), parse_access(place, item)


def _is_text(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= _MAX_TEXT
