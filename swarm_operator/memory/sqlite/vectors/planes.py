"""Sign bits of vectors in memory, in planes of 64 dimensions: what a search looks at before it reads the file.

A vector of 256 dimensions takes 44 bytes: the bits, and 4 bytes each for the row ID, the number of its namespace, and
the place of its code in the mapped file (see vectors.codefile). The slots are in the order of the row IDs. A slot
without a vector has the namespace 0.

The file is read in steps. After that the log of the table is followed (see vectors.table), in the snapshot of each
search: what a search finds in memory is as new as its snapshot or newer. A candidate counts only if the snapshot has
its code.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from swarm_operator.memory.sqlite.vectors.codefile import CodeFile
from swarm_operator.memory.sqlite.vectors.codes import Array, matrix
from swarm_operator.memory.sqlite.vectors.halves import Run, at_once, in_halves
from swarm_operator.memory.sqlite.vectors.signs import Signs, planes, sign_bits
from swarm_operator.memory.sqlite.vectors.table import slot

EXACT: Final = 40_000
"""Number of vectors whose codes are compared: up to so many, all of them, and of more those that are best by bits."""
_SAMPLE: Final = 16
"""Divisor of the vectors whose distances tell how far the best of all go."""
_LOAD_ROWS: Final = 4096
_GROWTH: Final = 8
"""Divisor of what is allocated beyond what is needed."""
_ROUNDING: Final = 1e-5
"""More than two ways of computing a cosine differ by."""

_LOAD = """
    SELECT id / 4, space, code FROM vectors WHERE id >= 4 * ? AND model IN (0, ?) AND length(code) = ?
    ORDER BY id LIMIT ?
"""
_CHANGED = """
    SELECT v.id / 4, v.space, v.code FROM json_each(?) j
    CROSS JOIN vectors v ON v.id IN (4 * j.value, 4 * j.value + ?) AND length(v.code) = ? ORDER BY v.id
"""
_LOG_BOUNDS = "SELECT coalesce((SELECT min(seq) FROM vector_log), 1), coalesce((SELECT max(seq) FROM vector_log), 0)"
_LOGGED = "SELECT DISTINCT id / 4 FROM vector_log WHERE seq > ? AND id / 4 <= ?"


class Planes:
    """Bits of the vectors of one width. Searches on several threads may use them: each holds `lock` meanwhile.

    Attributes:
        width: number of dimensions.
        model: number of the model whose vectors these are, beside those of clients.
        loaded: whether all vectors of the file are here.
        lock: see above.

    Args:
        width: see above, as the next one.
        model: see above.
        folder: folder of the file with the codes; None: there is none, and searches read them from the database.
        alone: returns whether no other search runs or waits: then one may use two processors.
    """

    def __init__(
        self, width: int, model: int, folder: Path | None = None, *, alone: Callable[[], bool] = lambda: False
    ) -> None:
        self.width = width
        self.model = model
        self.loaded = False
        self.lock = threading.Lock()
        self._alone = alone
        self._current = False
        """True if the loaded rows are equal to those of the snapshot."""
        self._count = 0
        self._last = 0
        """Row ID that loading has come to."""
        self._seq: int | None = None
        """The last row of the log that was taken; None before the first step."""
        self._bits = [np.empty(0, np.uint64) for _ in range(planes(width))]
        self._ids: Array = np.empty(0, np.uint32)
        self._spaces = np.empty(0, np.uint32)
        self._sizes: Array = np.zeros(1, np.int64)
        """Number of slots of each namespace."""
        self._places = np.empty(0, np.uint32)
        self._codes: CodeFile | None = None
        if folder is not None:
            with contextlib.suppress(OSError):
                self._codes = CodeFile(folder, width)

    @property
    def memory_bytes(self) -> int:
        """Return the size of the arrays."""
        return sum(array.nbytes for array in (*self._bits, self._ids, self._spaces, self._places))

    def load(self, db: sqlite3.Connection) -> None:
        """Take the next rows of the file, in the caller's snapshot. With the last of them `loaded` becomes True."""
        if not self.follow(db):
            self._count, self._last, self._seq = 0, 0, None
            self._sizes[:] = 0
            self.follow(db)
        rows = db.execute(_LOAD, (self._last + 1, self.model, self.width, _LOAD_ROWS)).fetchall()
        self._set(rows)
        if rows:
            self._last = rows[-1][0]
        if len(rows) < _LOAD_ROWS:
            self.loaded, self._last = True, 2**61

    def follow(self, db: sqlite3.Connection) -> bool:
        """Take what has changed since, in the caller's snapshot. Return False if that is not known any more."""
        oldest, newest = db.execute(_LOG_BOUNDS).fetchone()
        if self._seq is None:
            self._seq = newest
        self._current = oldest - 1 <= self._seq <= newest
        if not self._current:
            self.loaded = False
            return False
        if self._seq < newest:
            changed = [row_id for (row_id,) in db.execute(_LOGGED, (self._seq, self._last)).fetchall()]
            rows = db.execute(_CHANGED, (json.dumps(changed), slot(self.model), self.width)).fetchall()
            self._remove(set(changed).difference(row[0] for row in rows))
            self._set(rows)
            self._seq = newest
        return True

    def candidates(self, vector: bytes, spaces: Sequence[int]) -> tuple[Array, Array | None]:
        """Return the row IDs of the vectors that are most like a query's, best first, and bounds of their cosines.

        Args:
            vector: vector of the query.
            spaces: numbers of the namespaces to search. No other vector has an effect on the result.

        Returns:
            EXACT row IDs or some more, with the cosines that they do not or hardly exceed; None if these are not known,
            and the row IDs are all there are.
        """
        allowed = np.zeros(len(self._sizes), np.bool_)
        allowed[[space for space in spaces if 0 < space < len(allowed)]] = True
        run = in_halves if self._alone() else at_once
        slots, bounds = self._alike(vector, allowed, run)
        if self._codes is not None and len(slots):
            bounds = self._codes.cosines(vector, self._places[slots], run) + _ROUNDING
        if bounds is not None:
            order = np.argsort(-bounds)
            slots, bounds = slots[order], bounds[order]
        return self._ids[slots], bounds

    def codes(self, ids: Sequence[int]) -> Array | None:
        """Return the codes of row IDs of `candidates`, one in each row; None: they are to be read from the snapshot."""
        if self._codes is None or not self._current:
            return None
        slots = np.searchsorted(self._ids[: self._count], np.array(ids, self._ids.dtype))
        return self._codes.read(self._places[slots])

    def _alike(self, vector: bytes, allowed: Array, run: Run) -> tuple[Array, Array | None]:
        """Return the slots of the best vectors by their bits, with bounds of their cosines: all if there are few."""
        if int(self._sizes[allowed].sum()) <= EXACT:
            return np.flatnonzero(allowed.take(self._spaces[: self._count])), None
        signs = Signs(vector)
        distances = signs.distances([plane[: self._count] for plane in self._bits], run)
        slots = self._best(distances, allowed)
        return slots, signs.bounds(distances[slots])

    def _best(self, distances: Array, allowed: Array) -> Array:
        """Return the EXACT slots with the smallest distances, of at least so many, and all that are as near."""
        spaces = self._spaces[: self._count]
        sample = distances[::_SAMPLE][allowed.take(spaces[::_SAMPLE])]
        slots = np.flatnonzero(distances <= _threshold(sample, EXACT * 9 // 8 // _SAMPLE))
        slots = slots[allowed.take(spaces[slots])]
        if len(slots) < EXACT:  # the sample is not like all
            slots = np.flatnonzero(allowed.take(spaces))
        its = distances[slots]
        return slots[its <= _threshold(its, EXACT)]

    def _remove(self, ids: Iterable[int]) -> None:
        """Empty the slots of these row IDs."""
        gone = np.array([row_id for row_id in ids if row_id <= np.iinfo(self._ids.dtype).max], self._ids.dtype)
        slots = np.searchsorted(self._ids[: self._count], gone)
        known = slots < self._count
        known[known] = self._ids[slots[known]] == gone[known]
        self._assign(slots[known], np.zeros(np.count_nonzero(known), np.uint32))

    def _assign(self, slots: Array, spaces: Array) -> None:
        """Set the namespaces of slots, and count them."""
        most = int(spaces.max(initial=0))
        if most >= len(self._sizes):
            self._sizes = np.append(self._sizes, np.zeros(most + 1 - len(self._sizes), np.int64))
        np.subtract.at(self._sizes, self._spaces[slots], 1)
        np.add.at(self._sizes, spaces, 1)
        self._spaces[slots] = spaces

    def _set(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Fill the slots of rows, which are in the order of their IDs, and add those that are not here."""
        if not rows:
            return
        if rows[-1][0] >= 2**32 and self._ids.dtype == np.uint32:
            self._ids = self._ids.astype(np.uint64)
        # Of the same type: searchsorted would copy all IDs to convert them.
        ids = np.array([row[0] for row in rows], self._ids.dtype)
        spaces = np.array([row[1] for row in rows], np.uint32)
        codes = matrix([row[2] for row in rows], self.width)
        bits = sign_bits(codes)
        slots = np.searchsorted(self._ids[: self._count], ids)
        known = slots < self._count
        known[known] = self._ids[slots[known]] == ids[known]
        self._assign(slots[known], spaces[known])
        for plane, its_bits in zip(self._bits, bits, strict=True):
            plane[slots[known]] = its_bits[known]
        places = self._stored(self._places[slots[known]], codes[known], codes[~known])
        if not known.all():
            self._add(slots[~known], ids[~known], spaces[~known], places, bits[:, ~known])

    def _stored(self, places: Array, codes: Array, added: Array) -> Array:
        """Write codes at these places, and others at new ones. Return the new ones."""
        if self._codes is not None:
            try:
                self._codes.write(places, codes)
                return self._codes.append(added)
            except OSError:  # searches read the codes from the database
                self._codes = None
        return np.zeros(len(added), np.uint32)

    def _add(self, slots: Array, ids: Array, spaces: Array, places: Array, bits: Array) -> None:
        """Insert new slots before others."""
        before, self._count = self._count, self._count + len(ids)
        self._ids = _insert(self._ids, before, slots, ids)
        self._spaces = _insert(self._spaces, before, slots, np.zeros_like(spaces))
        self._assign(np.searchsorted(self._ids[: self._count], ids), spaces)
        self._places = _insert(self._places, before, slots, places)
        # One after the other: memory for a second copy of all planes is never needed.
        for number, its_bits in enumerate(bits):
            self._bits[number] = _insert(self._bits[number], before, slots, its_bits)


def _threshold(distances: Array, count: int) -> np.uint16:
    """Return a distance that so many do not exceed; one that none exceeds, if there are fewer."""
    return np.uint16(np.searchsorted(np.cumsum(np.bincount(distances)), count))


def _insert(array: Array, count: int, slots: Array, values: Array) -> Array:
    """Return an array whose first `count` items are those of another one, with values inserted before some of them."""
    total = count + len(values)
    appended = bool(slots[0] == count)
    if total > len(array):
        grown = np.empty(total + total // _GROWTH, array.dtype)
        grown[:count] = array[:count]
        array = grown
    array[count:total] = values
    if not appended:
        array[:total] = np.insert(array[:count], slots, values)
    return array
