"""Memory services of many worlds, which carry out restores in name only, and count how often they begin one.

They have each backup that they are asked for.
"""

from __future__ import annotations

import collections
from typing import Any

from aiohttp import web

_AT = "2026-11-26T03:00:00.000Z"


class Memories:
    """A server at which each namespace has a service, below a path of its own."""

    def __init__(self) -> None:
        self.begun: collections.Counter[tuple[str, str]] = collections.Counter()
        """How often each restore was begun, by namespace and the name of its object."""
        self._restores: dict[tuple[str, str], list[dict[str, Any]]] = {}
        """What is said of a restore next. The last answer stays."""
        self._backups: dict[str, dict[str, dict[str, Any]]] = collections.defaultdict(dict)

    def app(self) -> web.Application:
        """Return the application, see app.url."""
        app = web.Application()
        app.router.add_get("/{namespace}/admin/restores/{name}", self._get_restore)
        app.router.add_put("/{namespace}/admin/restores/{name}", self._begin_restore)
        app.router.add_get("/{namespace}/admin/backups", self._list_backups)
        app.router.add_get("/{namespace}/admin/backups/{name}", self._get_backup)
        return app

    async def _begin_restore(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        asked = await request.json()
        whole = asked["namespaces"] is None and not asked["key_prefix"]
        # The name has a part of the object's uid at its end.
        self.begun[namespace, name.rpartition("-")[0]] += 1
        counts = dict.fromkeys(("entries_new", "entries_changed", "entries_removed"), None if whole else 1)
        plan = {"backup": "b1", "entries": 3, "bytes": 4096, **counts}
        state = {
            "name": name, "started_at": _AT, "completed_at": None, "plan": plan, "progress": None,
            "safety_backup": None, "problem": None,
        }  # fmt: skip
        steps = [{**state, "phase": phase} for phase in ("Fetching", "Swapping" if whole else "Writing")]
        safety = f"{name}.before-1795680000000" if whole else None
        self._restores[namespace, name] = [
            *steps, {**state, "phase": "Completed", "completed_at": _AT, "safety_backup": safety},
        ]  # fmt: skip
        if safety:
            self._backups[namespace][safety] = _backup(safety)
        return web.json_response(steps[0], status=202)

    async def _get_restore(self, request: web.Request) -> web.Response:
        states = self._restores.get((request.match_info["namespace"], request.match_info["name"]))
        if states is None:
            return _missing()
        return web.json_response(states.pop(0) if len(states) > 1 else states[0])

    async def _list_backups(self, request: web.Request) -> web.Response:
        return web.json_response({"backups": list(self._backups[request.match_info["namespace"]].values())})

    async def _get_backup(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response(self._backups[request.match_info["namespace"]].setdefault(name, _backup(name)))


def _backup(name: str) -> dict[str, Any]:
    return {
        "name": name, "phase": "Completed", "reason": "PreRestore", "started_at": _AT, "completed_at": _AT,
        "verified_at": _AT, "location": f"file:///backups/c/{name}", "size": 4096, "entries": 4, "sha256": "0" * 64,
        "schema_version": 7, "feed_position": 9, "swarm_id": "c", "problem": None,
    }  # fmt: skip


def _missing() -> web.Response:
    problem = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "none", "code": "not-found"}
    return web.json_response(problem, status=404, content_type="application/problem+json")
