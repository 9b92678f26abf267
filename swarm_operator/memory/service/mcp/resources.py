"""Reads resources `memory://...` as JSON documents, limited like tool results. `next` is the URI of the next part."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import quote

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.pages import NamespaceCount
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.access.rights import AuthorizedStore
from swarm_operator.memory.service.errors import NotFoundError
from swarm_operator.memory.service.mcp import uris
from swarm_operator.memory.service.mcp.budget import Budget
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

TEMPLATES: Final = (
    (
        "memory://{namespace}{?cursor}",
        "namespace",
        "A namespace's keys, with sizes and the beginning of each value. The namespace is percent-encoded.",
    ),
    (
        "memory://{namespace}/{key}{?offset}",
        "entry",
        "An entry with its value. Both parts are percent-encoded, slashes too.",
    ),
)
"""Resource templates: uriTemplate, name, description."""
_PAGE: Final = 100


class Resources:
    """Reads resources for one caller.

    Args:
        store: store that checks the caller's permissions.
        metrics: metrics that record the durations of reads.
        budget: size limit of a document.
    """

    def __init__(self, store: AuthorizedStore, *, metrics: ServiceMetrics, budget: Budget) -> None:
        self._store = store
        self._metrics = metrics
        self._budget = budget

    async def page(self, cursor: str | None) -> tuple[list[NamespaceCount], str | None]:
        """Return a page of the namespaces, and the cursor of the next page. Raise MemoryStoreError."""
        own = cursors.of_namespaces(self._store.credential)
        page = await self._store.namespaces(after=own.decode(cursor), limit=_PAGE)
        taken = self._budget.take(
            page.namespaces, lambda count: {"uri": uris.render(count.namespace), "n": count.namespace, "d": " " * 100}
        )
        cut = page.namespaces[: len(taken)]
        return cut, own.encode(page.next_name if len(cut) == len(page.namespaces) else cut[-1].namespace)

    async def read(self, uri: str) -> dict[str, Any]:
        """Return the document at a URI. Raise RequestError or MemoryStoreError."""
        started = time.perf_counter()
        address = uris.parse(uri)
        if address.namespace is None:
            operation, document = "namespaces", await self._namespaces(address.cursor)
        elif address.key is None:
            operation, document = "list", await self._keys(address.namespace, address.cursor)
        else:
            operation, document = "get", await self._entry(address.namespace, address.key, address.offset)
        self._metrics.operations[operation].observe(time.perf_counter() - started)
        return document

    async def _entry(self, namespace: str, key: str, offset: int) -> dict[str, Any]:
        entry = await self._store.get(namespace, key)
        if entry is None:
            raise NotFoundError("there is no such entry")
        document = self._budget.value(entry, offset)
        following = document.get("next_offset")
        if following is not None:
            document["next"] = f"{uris.render(namespace, key)}?offset={following}"
        return document

    async def _namespaces(self, cursor: str | None) -> dict[str, Any]:
        counts, following = await self.page(cursor)
        return {
            "namespaces": [
                {"namespace": count.namespace, "entries": count.entries, "bytes": count.bytes} for count in counts
            ],
            "next": _next(uris.NAMESPACES, following),
        }

    async def _keys(self, namespace: str, cursor: str | None) -> dict[str, Any]:
        own = cursors.of_list(self._store.credential, namespace, "")
        after = own.decode(cursor)
        page = await self._store.list(namespace, after=after, limit=_PAGE)
        if not page.entries and after is None:
            raise NotFoundError("there is no such namespace, or nothing in it")
        taken = self._budget.take(page.entries, self._budget.listed)
        following = page.next_key if len(taken) == len(page.entries) else taken[-1]["key"]
        return {
            "namespace": namespace,
            "entries": taken,
            "next": _next(uris.render(namespace), own.encode(following)),
        }


def _next(uri: str, cursor: str | None) -> str | None:
    return None if cursor is None else f"{uri}?cursor={quote(cursor, safe='')}"


def target(uri: str) -> tuple[str | None, str | None]:
    """Return the namespace and key that a subscription covers. Raise InvalidInputError if the URI names only a part."""
    address = uris.parse(uri)
    if address.cursor is not None or address.offset:
        raise InvalidInputError("uri", "without cursor and offset")
    return address.target
