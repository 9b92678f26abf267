"""Vectors of a store: followers of its embedders, what is in memory, and searches by meaning and hybrid.

Modules that need numpy are imported on a thread, with the first search by meaning, or at the start with an embedder: a
store without vectors does not pay for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.core.errors import EmbeddingError, InvalidInputError, MemoryStoreError, StoreClosedError
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.core.pages import Position, SearchPage, Step
from swarm_operator.memory.core.query import Mode, Query
from swarm_operator.memory.core.stats import VectorStats
from swarm_operator.memory.core.vectors import width as width_of
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.connection import Worker, write_transaction
from swarm_operator.memory.sqlite.read.pool import TEXTS, Readers
from swarm_operator.memory.sqlite.vectors import table
from swarm_operator.memory.sqlite.vectors.follow import Follower, Run
from swarm_operator.memory.sqlite.vectors.models import Choice, FormerEmbedder, choose

_PAGES: Final = "swarm_operator.memory.sqlite.vectors.page"
_PLANES: Final = "swarm_operator.memory.sqlite.vectors.planes"
_MAX_WIDTHS: Final = 4
"""Maximum number of widths whose bits are in memory."""
_DROPPED_AT_ONCE: Final = 500
_HYBRID_SECONDS: Final = 2.0
"""Time that a hybrid search waits for the vector of its text; then it is one by words."""
_MAX_QUESTIONS: Final = 64
"""Maximum number of texts whose vectors are kept for their next pages."""
_REPLACING: Final = "the database is being replaced"


class _ReplacedError(MemoryStoreError):
    """The database or its model was replaced before a search read it."""


class VectorIndex:
    """Vectors of one store.

    Attributes:
        followers: what embeds entries that change; empty without an embedder.

    Args:
        folder: folder of the database.
        config: the settings.
        readers: the reading connections.
        embedder: makes vectors of entries and texts; None: there are none.
        former: returns the embedder of a model that was used before.
    """

    def __init__(
        self, folder: Path, config: StoreConfig, readers: Readers, *, embedder: Embedder | None, former: FormerEmbedder
    ) -> None:
        self._folder = folder
        self._config = config
        self._readers = readers
        self._embedder = embedder
        self._former = former
        self._choice = Choice(None, [], [], 0)
        self.followers: list[Follower] = []
        self._write: Run | None = None
        self._planes: OrderedDict[int, Any] = OrderedDict()
        self._questions: OrderedDict[str, bytes] = OrderedDict()
        self._loading: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = 0
        """Number of the database and the model that `_choice` and `_planes` belong to."""
        self._reopening: asyncio.Task[None] | None = None

    async def open(self, worker: Worker) -> None:
        """Choose the models of a file that is being opened."""
        self._choice = await worker.run(lambda db: choose(db, self._embedder, self._former))
        if self._embedder is not None:
            await imported(_PAGES)

    def start(self, write: Run) -> None:
        """Begin to follow the changes. `write` runs a function on the writer's connection between two batches."""
        self._write = write
        choice = self._choice
        self.followers = [
            Follower(model, embedder, self._config, newest=choice.newest, completed=self._completed)
            for model, embedder in choice.followed
        ]
        for follower in self.followers:
            follower.start(self._readers.read_pages, write)
        if choice.dropped:
            self._begin(self._drop(choice.dropped))

    def restart(self) -> None:
        """Continue with another database."""
        followers, self.followers = self.followers, []
        self._forget_memory()
        self._reopening = self._begin(self._reopen(followers))

    async def close(self) -> None:
        """Stop following and loading."""
        for task in [*self._tasks, *self._loading.values()]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for follower in self.followers:
            await follower.close()
        self._forget_memory()

    @property
    def has_embedder(self) -> bool:
        """Return whether the store makes vectors of texts."""
        return self._embedder is not None

    def mode(self, query: Query, position: Position | None) -> Mode | None:
        """Return how a query is searched; None: there is no text and no vector.

        Raises:
            InvalidInputError: there is no embedder to search for the meaning of a text.
        """
        if query.mode is None:
            if query.expression is None:
                return None
            if position is not None:  # pages of a search have one mode
                return Mode(position[0]) if position[0] in {Mode.MEANING, Mode.HYBRID} else Mode.WORDS
            return Mode.WORDS if self._embedder is None or not self._config.full_text else Mode.HYBRID
        if query.mode is not Mode.WORDS and query.vector is None and self._embedder is None:
            raise InvalidInputError("mode", "words, or meaning with a vector: the store has no embedder")
        return query.mode

    async def search(
        self, query: Query, mode: Mode, position: Position | None, *, limit: int, now: int, since: int
    ) -> SearchPage | None:
        """Return a page of a search by meaning or hybrid, after waiting for the vectors of changes.

        If the database is replaced before the page is read, the search begins anew: what was chosen, embedded and
        loaded belongs to the former database. Until the models of the new one are known, nothing is found by meaning.

        Args:
            query: the query.
            mode: MEANING or HYBRID.
            position: resume position of the page before.
            limit: maximum number of hits.
            now: the time in milliseconds since the Unix epoch.
            since: position of the last change before the search; `SearchPage.fresh` says whether it was waited for.

        Returns:
            None if a hybrid search has no vector, as the embedder fails or is slow, or if the models are not known: it
            is then one by words.

        Raises:
            EmbeddingError: the mode is MEANING, and the embedder fails.
            InvalidInputError: the vector has another width than those of the namespace.
        """
        while True:
            with contextlib.suppress(_ReplacedError):
                return await self._search(query, mode, position, limit=limit, now=now, since=since)

    async def _search(
        self, query: Query, mode: Mode, position: Position | None, *, limit: int, now: int, since: int
    ) -> SearchPage | None:
        if self._reopening is not None:
            await asyncio.wait([self._reopening], timeout=self._config.search_wait)
            if not self._reopening.done():  # the models of the new database are not known yet
                if mode is Mode.HYBRID:
                    return None
                return SearchPage(within=query.within, mode=mode, partial=True, fresh=False)
        state = self._state
        found = SearchPage(within=query.within)
        vector = query.vector
        if vector is None:
            started = time.perf_counter()
            try:
                async with asyncio.timeout(_HYBRID_SECONDS if mode is Mode.HYBRID else None):
                    vector = await self._question(query.text or "")
            except (EmbeddingError, TimeoutError):
                if mode is Mode.MEANING:
                    raise
                return None
            found.steps.append(Step("embed", 1, time.perf_counter() - started))
        if self.followers:
            await self.followers[0].wait(since, self._config.search_wait)
        known = any(vector)
        planes = await self._loaded(width_of(vector), self._config.search_wait)
        page = await imported(_PAGES)
        serving = self._choice.serving
        limits = page.Limits(limit, self._config.max_page_bytes)

        def read(db: sqlite3.Connection) -> SearchPage:
            if self._state != state:
                raise _ReplacedError(_REPLACING)
            # The snapshot begins with the first read. Under the lock no other search can make the bits newer than it.
            with planes.lock:
                if query.vector is not None and query.namespace is not None and covers(query.within, query.namespace):
                    table.check_width(db, query.namespace, query.vector)
                found.partial = not (planes.follow(db) and planes.loaded)
                fresh = not found.partial and (self._embedder is None or _is_fresh(db, serving, since))
                if mode is Mode.HYBRID:
                    its = planes if known else None
                    page.hybrid(db, its, query, vector, position, limits, now=now, since=since, found=found)
                elif known:
                    page.by_meaning(db, planes, query, vector, position, limits, now=now, found=found)
                found.fresh = found.fresh and fresh
            return found

        return await self._readers.read_texts(query.owner, read)

    async def embed(self, texts: Sequence[str]) -> tuple[table.Model, Sequence[bytes]]:
        """Return vectors of texts, by the embedder whose vectors are searched, with its model. Raise EmbeddingError."""
        if not self.followers:
            raise EmbeddingError(_REPLACING)
        follower = self.followers[0]
        return follower.model, follower.checked(await follower.embedder.embed(texts), len(texts))

    async def compared(self, width: int, *, since: int, seconds: float) -> Any:
        """Return the bits of a width, after waiting for the vectors of changes, and then for all bits.

        Args:
            width: number of dimensions.
            since: position of the last change to wait for; `is_complete` says whether it was.
            seconds: maximum time of both waits.
        """
        deadline = time.monotonic() + seconds
        if self._embeds(width):
            await self.followers[0].wait(since, seconds, built=True)
        return await self._loaded(width, max(deadline - time.monotonic(), 0.0))

    def is_complete(self, db: sqlite3.Connection, planes: Any, since: int) -> bool:
        """Return whether the bits, which the caller has locked, have the vectors of all changes up to one."""
        complete: bool = planes.follow(db) and planes.loaded
        return complete and (not self._embeds(planes.width) or _is_fresh(db, self._choice.serving, since))

    def _embeds(self, width: int) -> bool:
        """Return whether the vectors of this width are those of an embedder, too."""
        return any(follower.model.width == width for follower in self.followers[:1])

    async def stats(self) -> VectorStats:
        """Return counts and the state of the embedder."""
        entries = await self._readers.read_pages(table.count)
        memory = sum(planes.memory_bytes for planes in self._planes.values())
        if self._embedder is None:
            return VectorStats(entries=entries, memory_bytes=memory)
        return VectorStats(
            entries=entries,
            memory_bytes=memory,
            model=self._embedder.name,
            width=self._embedder.width,
            lag=max((follower.lag for follower in self.followers), default=0),
            rebuilding=not self.followers or any(each.model.built is not None for each in self.followers),
            embedded=sum(follower.embedded for follower in self.followers),
            failures=sum(follower.failures for follower in self.followers),
            last_error=next((each.last_error for each in self.followers if each.last_error), None),
        )

    async def _question(self, text: str) -> bytes:
        """Return the vector of a text, by the embedder whose vectors are searched. Raise EmbeddingError."""
        embedder = self.followers[0].embedder if self.followers else self._embedder
        assert embedder is not None  # noqa: S101 - for mypy: see `mode`
        key = f"{embedder.name}\0{text}"
        if key not in self._questions:
            (vector,) = await embedder.embed([text])
            if width_of(vector) != embedder.width:
                raise EmbeddingError(f"the embedder {embedder.name} made a vector of {width_of(vector)} numbers")
            self._questions[key] = vector
            while len(self._questions) > _MAX_QUESTIONS:
                self._questions.popitem(last=False)
        return self._questions[key]

    async def _loaded(self, width: int, seconds: float) -> Any:
        """Return the bits of a width, for which it waits for so many seconds at most."""
        module = await imported(_PLANES)
        serving = self._choice.serving
        model = table.CLIENT if serving is None else serving.number
        planes = self._planes.get(width)
        if planes is None:
            planes = self._planes[width] = module.Planes(width, model, self._folder, alone=self._is_alone)
            while len(self._planes) > _MAX_WIDTHS:
                self._planes.popitem(last=False)
        self._planes.move_to_end(width)
        if not planes.loaded:
            if width not in self._loading:
                task = asyncio.create_task(self._load(planes), name="memory-vectors")
                self._loading[width] = task
                task.add_done_callback(lambda _: self._loading.pop(width, None))
            await asyncio.wait([self._loading[width]], timeout=seconds)
        return planes

    def _is_alone(self) -> bool:
        """Return whether no other search with a text or a vector runs or waits."""
        return self._readers.under_way[TEXTS] <= 1

    async def _load(self, planes: Any) -> None:
        def step(db: sqlite3.Connection) -> None:
            with planes.lock:
                planes.load(db)

        with contextlib.suppress(MemoryStoreError):  # the search raises it, too, or the next one loads
            while not planes.loaded and self._planes.get(planes.width) is planes:
                await self._readers.read_pages(step)

    def _completed(self) -> None:
        """Use the vectors of the newest model, which all entries have now, and delete those of another one."""
        former = self.followers[:-1]
        if not former:
            return
        self.followers = self.followers[-1:]
        self._choice = Choice(self.followers[0].model, [], [], 0)
        self._forget_memory()
        self._begin(self._retire(former))

    async def _retire(self, followers: Sequence[Follower]) -> None:
        for follower in followers:
            await follower.close()
        await self._drop([follower.model.number for follower in followers])

    async def _drop(self, models: Sequence[int]) -> None:
        """Delete the vectors of models in steps, and forget the models. The next start does what is left."""
        for model in models:
            after: int | None = 0
            while after is not None:
                after = await self._step(_dropped(model, after))
            await self._step(_forgotten(model))

    async def _reopen(self, followers: Sequence[Follower]) -> None:
        for follower in followers:
            await follower.close()
        self._choice = await self._step(lambda db: choose(db, self._embedder, self._former))
        self._forget_memory()
        assert self._write is not None  # noqa: S101 - for mypy: `start` was called
        self.start(self._write)

    async def _step(self, function: Any) -> Any:
        """Run a function on the writer's connection, again and again until it succeeds."""
        assert self._write is not None  # noqa: S101 - for mypy: `start` was called
        while True:
            try:
                return await self._write(function)
            except StoreClosedError:
                raise
            except MemoryStoreError:
                await asyncio.sleep(self._config.probe_interval)

    def _forget_memory(self) -> None:
        self._state += 1
        self._planes.clear()
        self._questions.clear()

    def _begin(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(_until_closed(work), name="memory-vector-models")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _until_closed(work: Any) -> None:
    with contextlib.suppress(StoreClosedError):
        await work


async def imported(name: str) -> Any:
    """Return a module that imports numpy, which takes a while the first time."""
    return await asyncio.to_thread(importlib.import_module, name)


def _dropped(model: int, after: int) -> Any:
    def step(db: sqlite3.Connection) -> int | None:
        with write_transaction(db):
            return table.drop_vectors(db, model, after, _DROPPED_AT_ONCE)

    return step


def _forgotten(model: int) -> Any:
    def step(db: sqlite3.Connection) -> None:
        with write_transaction(db):
            table.drop_model(db, model)

    return step


def _is_fresh(db: sqlite3.Connection, serving: table.Model | None, since: int) -> bool:
    """Return whether the snapshot has the vectors of all changes up to one."""
    for model in table.models(db):
        if serving is not None and model.number == serving.number:
            return model.position is not None and model.position >= since and model.built is None
    return False
