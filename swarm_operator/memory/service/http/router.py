"""Finds the endpoint for a request's method and path."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from swarm_operator.memory.service.errors import NotFoundError, RequestError, WrongMethodError
from swarm_operator.memory.service.http.endpoint import Endpoint
from swarm_operator.memory.service.http.routes import entries, records

OTHER: Final = "other"
"""Route label of requests with an unknown path."""
_PARAMETER: Final = b"{"
_NO_KEY: Final = "an entry's path is /v1/entries/{namespace}/{key}; to list use /v1/entries?namespace="


class Match:
    """Result of routing a request.

    Attributes:
        route: path with its parameters in braces, for metrics.
        endpoint: endpoint, or None if no endpoint matches.
        parameters: name and undecoded value of each path parameter.
        error: reason why no endpoint matches.
        open: whether the path requires no token.
    """

    __slots__ = ("endpoint", "error", "open", "parameters", "route")

    def __init__(
        self,
        route: str,
        endpoint: Endpoint | None,
        parameters: tuple[tuple[str, bytes], ...] = (),
        error: RequestError | None = None,
        *,
        open: bool = False,  # noqa: A002 - the attribute's name in Operation
    ) -> None:
        self.route = route
        self.endpoint = endpoint
        self.parameters = parameters
        self.error = error
        self.open = open


class Router:
    """Finds endpoints.

    Paths of entries and records are matched as sent: a decoded `%2F` would be indistinguishable from a slash. Paths
    without parameters are matched decoded.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._entries: dict[str, Endpoint] = {}
        self._paths: dict[str, dict[str, Endpoint]] = {}
        self._patterns: list[tuple[list[bytes], Endpoint]] = []
        for endpoint in endpoints:
            operation = endpoint.operation
            if operation.path == entries.ROUTE:
                self._entries[operation.method] = endpoint
            elif "{" in operation.path:
                self._patterns.append((operation.path.encode().split(b"/"), endpoint))
            else:
                self._paths.setdefault(operation.path, {})[operation.method] = endpoint
        self._entries["HEAD"] = self._entries["GET"]
        self._roots = frozenset(endpoint.operation.path.split("/")[2].encode() for endpoint in records.ENDPOINTS)

    def find(self, method: str, raw_path: bytes, path: str) -> Match:
        """Return the endpoint or the error for a request.

        Args:
            method: HTTP method.
            raw_path: path as sent.
            path: decoded path.
        """
        if raw_path.startswith(entries.PREFIX):
            namespace, slash, key = raw_path[len(entries.PREFIX) :].partition(b"/")
            if slash and (endpoint := self._entries.get(method)) is not None:
                return Match(entries.ROUTE, endpoint, (("namespace", namespace), ("key", key)))
            return Match(entries.ROUTE, None, error=_no_entry(method) if slash else NotFoundError(_NO_KEY))
        here = self._paths.get(path, {})
        wanted = "GET" if method == "HEAD" else method
        if (endpoint := here.get(wanted)) is not None and (method != "HEAD" or not endpoint.operation.streams):
            return Match(path, endpoint, open=endpoint.operation.open)
        candidates = list(here.values())
        parts = raw_path.split(b"/")
        for pattern, endpoint in self._patterns:
            if len(pattern) != len(parts) or any(
                ours != theirs and not ours.startswith(_PARAMETER) for ours, theirs in zip(pattern, parts, strict=True)
            ):
                continue
            if endpoint.operation.method == wanted:
                named = (theirs for ours, theirs in zip(pattern, parts, strict=True) if ours.startswith(_PARAMETER))
                return Match(endpoint.operation.path, endpoint, tuple(("id", value) for value in named))
            if not candidates or candidates[0].operation.path == endpoint.operation.path:
                candidates.append(endpoint)
        if candidates:
            first = candidates[0].operation
            return Match(first.path, None, error=_wrong_method(method, path, candidates), open=first.open)
        words = "there is no such path"
        if len(parts) > 2 and parts[1] == b"v1" and parts[2] in self._roots:
            words += "; a slash in an id is sent as %2F"
        return Match(OTHER, None, error=NotFoundError(words))


def _no_entry(method: str) -> WrongMethodError:
    return WrongMethodError(f"an entry has no method {method[:32]}", (b"allow", b"GET, HEAD, PUT, DELETE"))


def _wrong_method(method: str, path: str, endpoints: list[Endpoint]) -> WrongMethodError:
    subject = endpoints[0].operation.subject
    allowed = [endpoint.operation.method for endpoint in endpoints]
    if "GET" in allowed and not endpoints[0].operation.streams:
        allowed.append("HEAD")
    if not subject:
        allowed.sort()
    words = f"{subject} has no method {method[:32]}" if subject else f"{path} has no such method"
    return WrongMethodError(words, (b"allow", ", ".join(dict.fromkeys(allowed)).encode()))
