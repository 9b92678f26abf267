"""Runs a page of a search in slices of a few milliseconds, so that other searches run in between.

Each slice reads its own snapshot and continues at the end position of the previous slice, like a next page. So two
slices of a page have the guarantees of two pages. If the database is replaced between two slices (see backup.replace),
the page begins anew, so all its entries are of one database. It has the rest of its CPU time, and at least one slice.
"""

from __future__ import annotations

import time
from typing import Final

from swarm_operator.memory.core.pages import Position, SearchPage
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import planner
from swarm_operator.memory.sqlite.search.by_text import INDEX_PLANS

MAX_SECONDS: Final = 0.05
"""Maximum CPU time of all slices of a page, in seconds. The last slice may exceed it."""
MAX_INDEX_SECONDS: Final = 0.012
"""Maximum CPU time of a page that scans the index by blocks, which examines many more entries."""


class Slices:
    """The slices of a page.

    Attributes:
        count: number of slices run so far.

    Args:
        query: the query.
        position: resume position of the previous page; None for the first page.
        limit: maximum number of entries.
        max_bytes: maximum bytes of values.
        now: the time in milliseconds since the Unix epoch.
        since: position that the index of words should have reached.
    """

    def __init__(
        self, query: Query, position: Position | None, *, limit: int, max_bytes: int, now: int, since: int
    ) -> None:
        self.count = 0
        self._query = query
        self._position = position
        self._page = SearchPage()
        self._database: int | None = None
        self._options = {"limit": limit, "max_bytes": max_bytes, "now": now, "since": since}
        self._seconds = 0.0

    def run(self, db: sqlite3.Connection, database: int) -> SearchPage | None:
        """Run the next slice in the caller's snapshot. Return the page after the last slice, else None.

        Args:
            db: a connection.
            database: number of its database, which a replacement changes.

        Raises:
            InvalidInputError, CorruptValueError: see planner.search.
        """
        started = time.thread_time()
        if database != self._database:
            self._database = database
            self._page = SearchPage(position=self._position, within=self._query.within)
        page = self._page
        planner.search(db, self._query, page.position, page=page, **self._options)
        self.count += 1
        self._seconds += time.thread_time() - started
        # A slice of ranks is not continued: if the next slice could not rank, a page would repeat entries.
        ranked = self._query.expression is not None and page.ranked
        seconds = MAX_INDEX_SECONDS if page.position and page.position[0] in INDEX_PLANS else MAX_SECONDS
        if page.partial and not ranked and page.candidates < planner.MAX_CANDIDATES and self._seconds < seconds:
            return None
        return page
