"""A client that writes down what it asks for."""

from __future__ import annotations

import time
from typing import NamedTuple

from swarm_operator.runtime.client import Client


class Request(NamedTuple):
    """One request as it was sent."""

    at: float
    """By the monotonic clock."""
    method: str
    """`WATCH` for a watch."""
    path: str


class Audited(Client):
    """A real client; `requests` has each of its requests."""

    def __init__(self, configuration, **options) -> None:
        super().__init__(configuration, user_agent="swarm-operator/test", **options)
        self.requests: list[Request] = []

    async def _send(self, method, path, query, *rest, **named):
        self.requests.append(Request(time.monotonic(), "WATCH" if query.get("watch") else method, path))
        return await super()._send(method, path, query, *rest, **named)

    def sent(self, *methods: str, path: str = "") -> list[Request]:
        """The requests of some methods (none means any) whose path has `path` in it."""
        return [r for r in self.requests if (not methods or r.method in methods) and path in r.path]
