"""Follows the change feed with an embedder, so that entries which came without a vector get one.

A step reads what is to be embedded (see vectors.pending), asks the embedder, and stores the vectors in one transaction
with the position that the model has come to. So a crash at any point loses nothing: the next step goes on from the
position. While the embedder works, no transaction is open; an entry that is written meanwhile keeps no old vector, as
its version is another one then.

A step runs some time after the first change, or at once if a search waits. After a failure the next one waits, ever
longer. It takes fewer entries, as a single text may be to blame: if the embedder refuses one alone, and makes a vector
of another one, the entry gets none.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.core.errors import EmbeddingError, MemoryStoreError, StoreClosedError
from swarm_operator.memory.core.vectors import NUMBER_BYTES
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.connection import write_transaction
from swarm_operator.memory.sqlite.vectors import table
from swarm_operator.memory.sqlite.vectors.pending import Pending, Text, pending

MAX_TEXTS: Final = 64
"""Maximum number of entries that a step embeds."""
_DELAY: Final = 0.05
"""Seconds after the first change until it is embedded, with those that came meanwhile, if no search waits."""
_MAX_BACKOFF: Final = 60.0
_PROBE: Final = "probe"
"""A text that every embedder has a vector of."""

T = TypeVar("T")


class Run(Protocol):
    """Runs a function on a connection, and returns its result."""

    async def __call__(self, function: Callable[[sqlite3.Connection], T], /) -> T:
        """Run the function."""


class _Waiting(NamedTuple):
    """A caller of Follower.wait."""

    position: int
    built: bool
    future: asyncio.Future[None]


class Follower:
    """Keeps the vectors of a model near the last change.

    Attributes:
        model: the model, and how far it is.
        embedder: makes the vectors.
        embedded: number of entries that got a vector.
        failures: number of failures since the start.
        last_error: the last failure; None after a success.

    Args:
        model: the model when the file was opened.
        embedder: see above.
        config: the settings.
        newest: position of the last change.
        completed: called when all entries have been embedded that lacked a vector.
    """

    def __init__(
        self, model: table.Model, embedder: Embedder, config: StoreConfig, *, newest: int,
        completed: Callable[[], None],
    ) -> None:  # fmt: skip
        self.model = model
        self.embedder = embedder
        self.embedded = 0
        self.failures = 0
        self.last_error: str | None = None
        self._config = config
        self._newest = newest
        self._completed = completed
        self._most = MAX_TEXTS
        self._backoff = 0.0
        self._wakeup = asyncio.Event()
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    def start(self, read: Run, write: Run) -> None:
        """Begin to follow.

        Args:
            read: runs a function in a snapshot.
            write: runs one on the writer's connection, while no batch is being committed.
        """
        self._task = asyncio.create_task(self._run(read, write), name="memory-embedding")

    async def close(self) -> None:
        """Stop. The next start embeds the entries of an unfinished step again."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def lag(self) -> int:
        """Return the number of changes whose entries were not embedded."""
        return max(self._newest - (self.model.position or 0), 0)

    def committed(self, newest: int) -> None:
        """Take note of committed changes, up to this position."""
        self._newest = newest
        self._wakeup.set()

    def restart(self, newest: int) -> None:
        """Continue with another database, of which `newest` is the last change."""
        self.model = self.model._replace(position=None)
        self.committed(newest)

    async def wait(self, position: int, seconds: float, *, built: bool = False) -> None:
        """Wait until a change is embedded, but not while the embedder fails.

        Args:
            position: position of the change.
            seconds: maximum time.
            built: also wait until no entry of before lacks a vector.
        """
        if self._has(position, built=built) or not seconds or self._backoff:
            return
        waiting = _Waiting(position, built, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wakeup.set()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await waiting.future
        finally:
            self._waiting.remove(waiting)

    def checked(self, vectors: Sequence[bytes], texts: int) -> Sequence[bytes]:
        """Return the vectors that the embedder made of so many texts. Raise EmbeddingError if they are none."""
        if len(vectors) != texts or any(len(vector) != self.model.width * NUMBER_BYTES for vector in vectors):
            raise EmbeddingError(f"the embedder {self.model.name} made other vectors than one of {self.model.width}")
        return vectors

    def _has(self, position: int, *, built: bool) -> bool:
        return self._passed(position) and (self.model.built is None or not built)

    def _passed(self, position: int) -> bool:
        return self.model.position is not None and self.model.position >= position

    async def _run(self, read: Run, write: Run) -> None:
        while True:
            if self._passed(self._newest) and self.model.built is None:
                self._wakeup.clear()
                await self._wakeup.wait()
                continue
            if not self._waiting and self.model.built is None and not self._backoff:
                await self._pause(_DELAY)
            try:
                await self._step(read, write)
            except StoreClosedError:
                return
            except Exception as error:  # noqa: BLE001 - the step is tried again; the statistics have the reason
                self._failed(error)
                await asyncio.sleep(self._backoff)
            else:
                self._backoff, self.last_error = 0.0, None
                self._most = min(2 * self._most, MAX_TEXTS)

    async def _pause(self, seconds: float) -> None:
        """Wait until the time is over or a search waits."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._waiting:
                    self._wakeup.clear()
                    await self._wakeup.wait()

    async def _step(self, read: Run, write: Run) -> None:
        number = self.model.number
        found: Pending = await read(lambda db: pending(db, number, self._most))
        vectors = await self._vectors(found.texts) if found.texts else []
        made = [(*text[:3], vector) for text, vector in zip(found.texts, vectors, strict=True)]
        await write(lambda db: _store(db, number, made, found))
        completed = self.model.built is not None and found.built is None
        self.model = self.model._replace(position=found.position, built=found.built)
        self._newest = max(self._newest, found.newest)
        self.embedded += len(made)
        for waiting in self._waiting:
            if self._has(waiting.position, built=waiting.built) and not waiting.future.done():
                waiting.future.set_result(None)
        if completed:
            self._completed()

    async def _vectors(self, texts: Sequence[Text]) -> Sequence[bytes]:
        """Return the vectors of texts; zeros for one that the embedder refuses. Raise EmbeddingError."""
        try:
            return self.checked(await self.embedder.embed([text.text for text in texts]), len(texts))
        except EmbeddingError:
            if len(texts) > 1:
                raise
            self.checked(await self.embedder.embed([_PROBE]), 1)
            return [bytes(self.model.width * NUMBER_BYTES)]

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.last_error = str(error) if isinstance(error, MemoryStoreError) else f"{type(error).__name__}: {error}"
        self._most = max(self._most // 2, 1)
        self._backoff = min(max(2 * self._backoff, self._config.probe_interval / 2), _MAX_BACKOFF)
        for waiting in self._waiting:
            if not waiting.future.done():
                waiting.future.set_result(None)


def _store(db: sqlite3.Connection, number: int, made: Sequence[tuple[Any, ...]], found: Pending) -> None:
    """Store vectors and the position in one transaction."""
    with write_transaction(db):
        table.store(db, number, made)
        table.set_progress(db, number, found.position, found.built)
