"""Calls of every tool and every method of MCP, and what they take."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from unit.memory.service.access.operations import record_calls
from unit.memory.service.access.operations.model import (
    ADMIN,
    EVERYTHING,
    PLAIN,
    TOKEN,
    VISIBLE,
    Case,
    Needs,
    key,
    read,
    write,
)


@dataclass(frozen=True)
class Message:
    """A request.

    Attributes:
        method: of the protocol.
        params: of the method.
        session: it needs a session; else it stands alone.
        stream: its answer does not end; its first event is read.
    """

    method: str
    params: dict[str, Any]
    session: bool = False
    stream: bool = False


def _each(make):
    return [case for namespace in PLAIN for case in make(namespace)]


def _reads(namespace, /, *, shows=True, **arguments):
    return [Case(read(namespace), arguments, shows=(namespace,) if shows else ())]


def _writes(namespace, /, **arguments):
    return [Case(write(namespace), arguments)]


TOOLS = {
    "memory_store": _each(lambda n: _writes(n, namespace=n, key="new", value=1)),
    "memory_retrieve": _each(lambda n: _reads(n, namespace=n, key=key(n))),
    "memory_list": [
        *_each(lambda n: _reads(n, namespace=n)),
        Case(TOKEN, {}, shows=VISIBLE, names=True),
    ],
    "memory_search": [
        *_each(lambda n: _reads(n, namespace=n, text="word")),
        *(
            Case(TOKEN, {**question, "limit": 100}, shows=VISIBLE)
            for question in (
                {"tags": ["common"]},
                {"text": "word"},
                {"vector": [1, 1, 1]},
                {"pattern": "key-"},
                {"updated_since": "2020-01-01T00:00:00Z"},
            )
        ),
    ],
    "memory_delete": _each(lambda n: _writes(n, namespace=n, key=key(n))),
    "memory_stats": [Case(EVERYTHING, {})],
    "memory_usage": _each(
        lambda n: [
            *_writes(n, action="store", namespace=n, key="new", value="v"),
            *_reads(n, action="retrieve", namespace=n, key=key(n)),
            *_reads(n, action="list", namespace=n),
            *_reads(n, action="search", namespace=n, value="key"),
            *_writes(n, action="delete", namespace=n, key=key(n)),
        ]
    ),
    "memory_namespace": _each(
        lambda n: [
            *_reads(n, action="list", namespace=n),
            *_reads(n, action="info", namespace=n, shows=False),
            *_writes(n, action="clear", namespace=n),
        ]
    ),
    "memory_persist": [Case(Needs(everything=True, writes=("sessions",)), {})],
    "memory_analytics": [Case(EVERYTHING, {"timeframe": "1h"})],
    "memory_compress": [Case(ADMIN, {})],
    "memory_backup": [Case(ADMIN, {"path": "made.db"})],
    "memory_restore": [Case(ADMIN, {"backupPath": "kept.db"})],
    "memory_sync": [Case(ADMIN, {"target": "itself"})],
    **record_calls.TOOLS,
}
"""By the name of the tool; a case's request is its arguments."""


def _uri(namespace):
    return f"memory://{quote(namespace, safe='')}"


def _listen(*uris):
    return Message("subscriptions/listen", {"notifications": {"resourceSubscriptions": list(uris)}}, stream=True)


def _subscribe(uri):
    return Message("resources/subscribe", {"uri": uri}, session=True)


METHODS = {
    "initialize": [
        Case(
            TOKEN,
            Message(
                "initialize",
                {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
                session=True,
            ),
        )
    ],
    "ping": [Case(TOKEN, Message("ping", {}, session=True))],
    "server/discover": [Case(TOKEN, Message("server/discover", {}))],
    "tools/list": [Case(TOKEN, Message("tools/list", {}))],
    "resources/list": [Case(TOKEN, Message("resources/list", {}), shows=VISIBLE, names=True)],
    "resources/templates/list": [Case(TOKEN, Message("resources/templates/list", {}))],
    "resources/read": [
        *_each(
            lambda n: [
                Case(read(n), Message("resources/read", {"uri": _uri(n)}), shows=(n,)),
                Case(read(n), Message("resources/read", {"uri": f"{_uri(n)}/{key(n)}"}), shows=(n,)),
            ]
        ),
        Case(TOKEN, Message("resources/read", {"uri": "memory://namespaces"}), shows=VISIBLE, names=True),
    ],
    "resources/subscribe": [
        *_each(lambda n: [Case(read(n), _subscribe(_uri(n))), Case(read(n), _subscribe(f"{_uri(n)}/k"))]),
        Case(EVERYTHING, _subscribe("memory://namespaces")),
    ],
    "resources/unsubscribe": [Case(TOKEN, Message("resources/unsubscribe", {"uri": "memory://gamma"}, session=True))],
    "subscriptions/listen": [
        *_each(lambda n: [Case(read(n), _listen(_uri(n))), Case(read(n), _listen(f"{_uri(n)}/k"))]),
        Case(read("alpha", "gamma"), _listen(_uri("alpha"), _uri("gamma"))),
        Case(EVERYTHING, _listen("memory://namespaces")),
    ],
}
"""By the name of the method; a tool's call is in TOOLS."""
