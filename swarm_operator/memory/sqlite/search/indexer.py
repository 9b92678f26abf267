"""Updates the index of words from the change feed: schedules the steps, wakes waiting searches, limits the lag.

Steps (see search.words) run on the writer's connection between two batches: when a search waits for the index, when
START_AT changes are waiting, or some time after the first change. So under load each step processes many changes. A
rebuild runs a step after each batch until it is complete.

The writer takes no batch while more than MAX_LAG changes are waiting, so that searches do not wait long. If a step
ended early because of long texts, the limit is MAX_LONG_LAG.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.observer import Observer
from swarm_operator.memory.core.stats import IndexStats
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.search import words
from swarm_operator.memory.sqlite.search.words import State

START_AT: Final = 256
"""Number of waiting changes that starts a step without a waiting search."""
MAX_LAG: Final = 2048
"""Maximum number of waiting changes when the writer takes a batch."""
MAX_LONG_LAG: Final = 128
"""Maximum number of waiting changes with long texts."""
_DELAY: Final = 0.05
"""Seconds after which a step runs for fewer changes."""
_ROW_BYTES: Final = 4096
"""Estimate of the bytes in the write-ahead log for the words of a row."""

T = TypeVar("T")


class Connection(Protocol):
    """Runs functions on the writer's connection, see database.connection.Worker."""

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run the function and return its result."""


class Indexer:
    """Keeps the index of words near the last change.

    Attributes:
        newest: position of the last change.

    Args:
        connection: the writer's connection.
        config: settings; without full_text the index is empty.
        observer: receives failures.
        wrote: called with an estimate of the bytes written by a step.
    """

    def __init__(
        self, connection: Connection, config: StoreConfig, *, observer: Observer, wrote: Callable[[int], None]
    ) -> None:
        self.newest = 0
        self._connection = connection
        self._config = config
        self._observer = observer
        self._wrote = wrote
        self._state = State(0, 0, None)
        self._wake: Callable[[], None] = lambda: None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ripe = False
        """True if the oldest waiting change has waited for _DELAY."""
        self._failed = False
        """True if the last step failed. The next step runs after StoreConfig.probe_interval."""
        self._stopping = False

    async def open(self) -> None:
        """Make the index match the settings when the file is opened, and read its position."""

        def read(db: sqlite3.Connection) -> tuple[State, int]:
            return (
                words.prepare(db, full_text=self._config.full_text, language=self._config.search_language),
                changes.bounds(db)[1],
            )

        self._state, self.newest = await self._connection.run(read)
        self._ripe = self.lag > 0

    def start(self, wake: Callable[[], None]) -> None:
        """Begin to follow.

        Args:
            wake: makes the writer check `due` soon, and call `catch_up` between two batches if it is True.
        """
        self._wake = wake

    def stop(self) -> None:
        """Stop a rebuild until the next start. Afterwards `due` is True only while changes are waiting."""
        self._stopping = True
        self._cancel_timer()

    def restart(self, newest: int) -> None:
        """Continue with another database, whose last change is `newest`."""
        self.newest = newest
        self._state = State(self._state.revision, -1, None)  # the first step reads the state
        self._ripe = True
        self._wake()

    def configure(self, config: StoreConfig) -> None:
        """Use other settings. After a change of the language, the next step begins a rebuild."""
        changed = config.search_language != self._config.search_language
        self._config = config
        if changed and config.full_text:
            self.restart(self.newest)

    @property
    def lag(self) -> int:
        """Return the number of changes that the index lacks."""
        return self.newest - self._state.position if self._config.full_text else 0

    @property
    def stats(self) -> IndexStats:
        """Return the lag of the index."""
        return IndexStats(lag=self.lag, rebuilding=self._state.built is not None)

    @property
    def due(self) -> bool:
        """Return whether the writer should call `catch_up` before its next batch."""
        if self._failed:
            return False
        if self._stopping:
            return self.lag > 0
        return self._state.built is not None or (
            self.lag > 0 and (self._ripe or bool(self._waiting) or self.lag >= START_AT)
        )

    def committed(self, found: Sequence[Change]) -> None:
        """Process committed changes."""
        if not found or not self._config.full_text:
            return
        self.newest = found[-1].seq
        if self._timer is None and not (self._ripe or self._failed or self._stopping):
            self._set_timer(_DELAY)

    async def catch_up(self) -> None:
        """Run a step, and further steps while too many changes are waiting."""
        most = MAX_LAG
        while True:
            try:
                advance = functools.partial(words.advance, language=self._config.search_language)
                step = await self._connection.run(advance)
            except Exception as error:  # noqa: BLE001 - a search says that it is not fresh; the step is tried again
                reason = from_sqlite(error)
                self._observer.failed(code=reason.code, reason=f"index of words: {reason}")
                self._failed = True
                if not self._stopping:
                    self._set_timer(self._config.probe_interval)
                return
            self._state = step.state
            self._wrote(step.rows * _ROW_BYTES)
            self._ripe = self._ripe and self.lag > 0
            for position, future in self._waiting:
                if self._passed(position) and not future.done():
                    future.set_result(None)
            if step.cut:
                most = MAX_LONG_LAG
            if self.lag <= most:
                return

    async def wait(self, position: int) -> None:
        """Wait until the index has a change, but at most StoreConfig.search_wait."""
        if self._passed(position) or not self._config.search_wait:
            return
        waiting = (position, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.search_wait):
                    await waiting[1]
        finally:
            self._waiting.remove(waiting)

    def _passed(self, position: int) -> bool:
        """Return whether a search can run now: the index has the change, or the search reads the entries themselves."""
        return self._state.position >= position or self._state.built is not None

    def _set_timer(self, seconds: float) -> None:
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ripen)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _ripen(self) -> None:
        self._timer, self._ripe, self._failed = None, True, False
        self._wake()
