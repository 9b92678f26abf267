"""Requests of every operation of HTTP, and what they take."""

from urllib.parse import quote

import orjson
from unit.memory.service.access.operations import record_calls
from unit.memory.service.access.operations.model import (
    ADMIN,
    EVERYTHING,
    NOTHING,
    PLAIN,
    TOKEN,
    VISIBLE,
    Case,
    key,
    read,
    write,
)


def _each(make):
    return [case for namespace in PLAIN for case in make(namespace, quote(namespace, safe=""))]


def _batch(*operations, atomic=True):
    return "POST", "/v1/batch", {"operations": list(operations), "atomic": atomic}


def _put(namespace):
    return {"op": "put", "namespace": namespace, "key": "new", "value": 1}


def _line(namespace):
    entry = {"namespace": namespace, "key": "new", "value": 1, "tags": [], "metadata": {}}
    return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)


def _admin(method, path):
    """In both spellings of the path: rights must not depend on it."""
    return [Case(ADMIN, (method, path, None)), Case(ADMIN, (method, path.replace("/admin", "/%61dmin"), None))]


CASES = {
    "put": _each(lambda n, q: [Case(write(n), ("PUT", f"/v1/entries/{q}/new", {"value": 1}))]),
    "get": _each(
        lambda n, q: [
            Case(read(n), ("GET", f"/v1/entries/{q}/{key(n)}", None), shows=(n,)),
            Case(read(n), ("HEAD", f"/v1/entries/{q}/{key(n)}", None)),
        ]
    ),
    "delete": _each(lambda n, q: [Case(write(n), ("DELETE", f"/v1/entries/{q}/{key(n)}", None))]),
    "batch": [
        *_each(
            lambda n, _: [
                Case(write(n), _batch(_put(n))),
                Case(write(n), _batch(_put(n), atomic=False)),
                Case(write(n), _batch({"op": "delete", "namespace": n, "key": key(n)})),
                Case(read(n), _batch({"op": "get", "namespace": n, "key": key(n)}), shows=(n,)),
            ]
        ),
        Case(write("alpha", "gamma"), _batch(_put("alpha"), _put("gamma"))),
        Case(write("alpha", "gamma"), _batch(_put("alpha"), _put("gamma"), atomic=False)),
    ],
    "list": _each(lambda n, q: [Case(read(n), ("GET", f"/v1/entries?namespace={q}", None), shows=(n,))]),
    "delete-range": _each(lambda n, q: [Case(write(n), ("DELETE", f"/v1/entries?namespace={q}&prefix=", None))]),
    "search": [
        *_each(lambda n, q: [Case(read(n), ("GET", f"/v1/search?namespace={q}&text=word", None), shows=(n,))]),
        *(
            Case(TOKEN, ("GET", f"/v1/search?limit=100&{query}", None), shows=VISIBLE)
            for query in ("tag=common", "text=word", "prefix=key-", "order=updated", "any_tag=common&order=updated")
        ),
    ],
    "search-post": [
        *_each(lambda n, _: [Case(read(n), ("POST", "/v1/search", {"namespace": n, "text": "word"}), shows=(n,))]),
        Case(TOKEN, ("POST", "/v1/search", {"limit": 100, "vector": [1, 1, 1], "explain": True}), shows=VISIBLE),
        Case(TOKEN, ("POST", "/v1/search", {"limit": 100, "vector": [1, 1, 1], "text": "word"}), shows=VISIBLE),
    ],
    "namespaces": [Case(TOKEN, ("GET", "/v1/namespaces", None), shows=VISIBLE, names=True)],
    "stats": [Case(EVERYTHING, ("GET", "/v1/stats", None))],
    "gc": _admin("POST", "/admin/gc"),
    "cleanup": _admin("POST", "/admin/cleanup?max_age=0&keep_patterns=false"),
    "backup": _admin("GET", "/admin/backup"),
    "healthz": [Case(NOTHING, ("GET", "/healthz", None))],
    "readyz": [Case(NOTHING, ("GET", "/readyz", None))],
    "openapi": [Case(NOTHING, ("GET", "/openapi.json", None))],
    "watch": [
        *_each(lambda n, q: [Case(read(n), ("GET", f"/v1/watch?namespace={q}", None), shows=(n,), follows=True)]),
        Case(TOKEN, ("GET", "/v1/watch", None), shows=VISIBLE, follows=True),
    ],
    "export": [
        *_each(lambda n, q: [Case(read(n), ("GET", f"/v1/export?namespace={q}", None), shows=(n,))]),
        Case(TOKEN, ("GET", "/v1/export?all=true", None), shows=VISIBLE),
        Case(TOKEN, ("GET", "/v1/export", None)),
    ],
    "import": _each(lambda n, _: [Case(write(n), ("POST", "/v1/import", _line(n)))]),
    **record_calls.HTTP,
    "backup-list": _admin("GET", "/admin/backups"),
    "backup-get": [Case(ADMIN, ("GET", "/admin/backups/none", None), statuses=(404,))],
    "backup-make": [Case(ADMIN, ("PUT", "/admin/backups/made", {"reason": "Requested"}), statuses=(202,))],
    "backup-verify": [Case(ADMIN, ("POST", "/admin/backups/none/verify", None), statuses=(404,))],
    "backup-delete": [Case(ADMIN, ("DELETE", "/admin/backups/made", None), statuses=(204,))],
    "restore-list": _admin("GET", "/admin/restores"),
    "restore-get": [Case(ADMIN, ("GET", "/admin/restores/none", None), statuses=(404,))],
    "restore-ask": [Case(ADMIN, ("PUT", "/admin/restores/asked", {"backup": "none"}), statuses=(202,))],
    "settings": _admin("GET", "/admin/settings"),
    "settings-change": [Case(ADMIN, ("PATCH", "/admin/settings", {"cache_size": 1000}))],
    # What is inside is MCP's; these lack the headers of a message.
    "mcp": [
        Case(TOKEN, ("POST", "/mcp", {}), statuses=(400, 406)),
        Case(TOKEN, ("GET", "/mcp", None), statuses=(400, 406)),
        Case(TOKEN, ("DELETE", "/mcp", None), statuses=(400, 406)),
    ],
}
"""By the name of the operation."""
