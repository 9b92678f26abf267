"""The first part of the search for a write's twin: its vector, and the most similar entries of a snapshot.

It runs before the write is queued: the embedder works on its own thread, the search on a reader's. twins.TwinCheck has
the second part. All that was acknowledged before is compared: the search waits for the vectors of earlier changes, and
the write fails if they do not come.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from swarm_operator.memory.core.duplicates import CheckedWrite, DuplicateRule
from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.core.errors import BatchItemError, DuplicateError, EmbeddingError, InvalidInputError
from swarm_operator.memory.core.observer import Observer
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.vectors import width as width_of
from swarm_operator.memory.sqlite.read.pool import Readers
from swarm_operator.memory.sqlite.vectors import table
from swarm_operator.memory.sqlite.vectors.index import VectorIndex, imported
from swarm_operator.memory.sqlite.vectors.texts import embedded_text
from swarm_operator.memory.sqlite.vectors.twins import MAX_CANDIDATES, Made, TwinCheck, newest

_CODES: Final = "swarm_operator.memory.sqlite.vectors.codes"
_SCAN: Final = "swarm_operator.memory.sqlite.vectors.scan"
MAX_CHECKED: Final = 100
"""Maximum number of checked writes of a batch: each is a search."""
_MAX_WAIT: Final = 5.0
"""Seconds that a check waits until the vectors of earlier changes are there, and in memory."""
_INSTEAD: Final = "retry, or write with on_duplicate: keep"


class TwinSearch:
    """Searches for the twins of writes.

    Args:
        index: vectors of the store.
        readers: the reading connections.
        observer: receives the writes that have a twin.
    """

    def __init__(self, index: VectorIndex, readers: Readers, observer: Observer) -> None:
        self._index = index
        self._readers = readers
        self._observer = observer

    async def checks(self, puts: Mapping[str, tuple[Draft, DuplicateRule]], *, since: int, now: int) -> list[TwinCheck]:
        """Search for the entries that are similar to drafts.

        Args:
            puts: what is to be written and what the write does about its twin, by the prefix of its fields in errors.
            since: position of the last change that must have been compared.
            now: the time in milliseconds since the Unix epoch.

        Raises:
            EmbeddingError: the embedder fails, or not all earlier writes can be compared at present.
            InvalidInputError: there is no vector, or one of another width than those of the namespace.
            OverloadedError: too many searches wait.
        """
        if len(puts) > MAX_CHECKED:
            raise InvalidInputError("operations", f"at most {MAX_CHECKED} of them with on_duplicate")
        vectors = await self._made([draft for draft, _ in puts.values()])
        checks = []
        for (prefix, (draft, rule)), made in zip(puts.items(), vectors, strict=True):
            try:
                checks.append(await self._check(draft, rule, made, since=since, now=now))
            except InvalidInputError as error:
                raise InvalidInputError(f"{prefix}{error.field}", error.allowed) from None
        return checks

    def count(self, result: object) -> None:
        """Count the result or the error of a write, if it has a twin."""
        reason = result.cause if isinstance(result, BatchItemError) else result
        if isinstance(reason, DuplicateError):
            self._observer.duplicate("refused")
        elif isinstance(reason, CheckedWrite) and reason.twin is not None:
            self._observer.duplicate("linked")

    async def _made(self, drafts: Sequence[Draft]) -> list[Made | None]:
        """Return vectors of the drafts that have none, by the embedder. None for others, or without an embedder."""
        lacking = [(draft.key, draft.value_json) for draft in drafts if draft.vector is None]
        if not lacking or not self._index.has_embedder:
            return [None] * len(drafts)
        texts = await asyncio.to_thread(lambda: [embedded_text(*each) for each in lacking])
        try:
            model, vectors = await self._index.embed(texts)
        except EmbeddingError as error:
            raise EmbeddingError(f"on_duplicate: {error}; {_INSTEAD}") from error
        made = iter(vectors)
        return [Made(model, next(made)) if draft.vector is None else None for draft in drafts]

    async def _check(self, draft: Draft, rule: DuplicateRule, made: Made | None, *, since: int, now: int) -> TwinCheck:
        vector = draft.vector if made is None else made.vector
        if vector is None:
            raise InvalidInputError("on_duplicate", "the store has no embedder; put a vector with the entry, or keep")
        width = width_of(vector)
        planes = await self._index.compared(width, since=since, seconds=_MAX_WAIT)
        codes, scan = await imported(_CODES), await imported(_SCAN)
        rounded = codes.rounded(vector)
        query = Query(namespace=draft.namespace, vector=rounded)

        def read(db: sqlite3.Connection) -> TwinCheck:
            with planes.lock:  # before the first read, as in VectorIndex.search
                if made is None:
                    table.check_width(db, draft.namespace, vector)
                elif (wanted := table.client_width(db, draft.namespace)) not in {None, width}:
                    raise InvalidInputError(
                        "on_duplicate",
                        f"the namespace {draft.namespace!r} has vectors of clients; "
                        f"put one of {wanted} numbers, or keep",
                    )
                current = made is None or made.model.number == planes.model
                if not current or not self._index.is_complete(db, planes, since):
                    raise EmbeddingError(f"on_duplicate: some earlier writes cannot be compared yet; {_INSTEAD}")
                found = scan.scan(db, planes, query, rounded, now=now, after=None, wanted=MAX_CANDIDATES)
            similar = tuple(each.row_id for each in found.best if -each.distance >= rule.threshold)
            return TwinCheck(rule, rounded, made, planes.model, similar, newest(db))

        return await self._readers.read_texts(draft.updated_by or "", read)
