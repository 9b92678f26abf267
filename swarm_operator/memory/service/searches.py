"""Searches of all protocols: their queries, their cursors, the ranks of their hits, and their metric."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core import MemoryStoreError, vectors
from swarm_operator.memory.core.pages import SearchPage, Step
from swarm_operator.memory.core.query import Mode, Order, Query
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.access.rights import Credential
from swarm_operator.memory.service.errors import RequestError
from swarm_operator.memory.service.problems import describe
from swarm_operator.memory.service.telemetry.metrics import SearchOutcome, ServiceMetrics

DEFAULT_LIMIT: Final = 50


class Found(NamedTuple):
    """A page of a search, with its context.

    Attributes:
        page: the page of the store.
        query: the query.
        next_cursor: cursor of the next page; None on the last page.
        before: number of hits on the previous pages. The rank of the first hit is one more.
    """

    page: SearchPage
    query: Query
    next_cursor: str | None
    before: int


def query_of(members: Mapping[str, Any], **translated: Any) -> Query:
    """Return the query of a JSON document, whose members have the names of Query.create's arguments.

    Args:
        members: the document. Members that are not arguments are ignored.
        translated: arguments with another name or form in the document.

    Raises:
        InvalidInputError: a member has a value that is not allowed.
    """
    given = {**members, **translated}
    return Query.create(
        namespace=given.get("namespace"),
        subtree=given.get("subtree", False),
        prefix=given.get("prefix", ""),
        glob=given.get("glob"),
        tags=given.get("tags", []),
        any_tags=given.get("any_tags", []),
        metadata=given.get("metadata"),
        updated_since=cursors.moment(given.get("updated_since")),
        updated_by=given.get("updated_by"),
        text=given.get("text"),
        match=given.get("match"),
        order=given.get("order"),
        mode=given.get("mode"),
        vector=vectors.from_json(given.get("vector")),
    )


async def run(
    store: Store, credential: Credential, query: Query, *, cursor: str | None, limit: int, metrics: ServiceMetrics
) -> Found:
    """Search, and count the search by its mode and outcome.

    Args:
        store: the store, which checks the caller's permissions.
        credential: credential of the caller.
        query: the query.
        cursor: `next_cursor` of the previous page; None for the first page.
        limit: maximum number of hits.
        metrics: metrics of the service.

    Raises:
        InvalidInputError: `cursor` is not a cursor of this query, or the store rejects the query.
        ForbiddenError: the caller may not read the namespace.
        MemoryStoreError: nothing was read.
    """
    own = cursors.of_search(credential, query)
    position, before = own.decode(cursor) or (None, 0)
    started = time.perf_counter()
    try:
        page = await store.search(query, position=position, limit=limit)
    except (MemoryStoreError, RequestError) as error:
        failed = describe(error).status >= 500
        # The mode that the store would have chosen for a text alone is then unknown.
        mode = query.mode or (None if query.text is None else Mode.WORDS)
        metrics.answered_search(mode, SearchOutcome.FAILED if failed else SearchOutcome.REFUSED)
        raise
    if not page.steps:  # the engine has examined one list of candidates
        page.steps.append(Step(_plan(query, page), page.candidates, time.perf_counter() - started))
    metrics.answered_search(page.mode, SearchOutcome.PARTIAL if page.partial else SearchOutcome.OK)
    following = None if page.position is None else [page.position, before + len(page.hits)]
    return Found(page, query, own.encode(following), before)


def _plan(query: Query, page: SearchPage) -> str:
    """Return the name of the step that found the candidates of a search without vectors."""
    if page.mode is not None:
        return "words" if page.ranked else "newest"
    if query.order is Order.UPDATED:
        return "updated"
    return "tags" if query.tags or query.any_tags else "keys"


def steps(credential: Credential, page: SearchPage) -> list[dict[str, Any]]:
    """Return the steps of a search as documents, for a caller that requested them.

    A caller that is limited to namespaces does not get the durations, which depend on entries of others, too.
    """
    timed = credential.principal.namespaces is None
    return [
        {
            "name": step.name,
            "candidates": step.candidates,
            **({"milliseconds": round(step.seconds * 1000, 3)} if timed else {}),
        }
        for step in page.steps
    ]
