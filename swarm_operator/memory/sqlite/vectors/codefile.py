"""Copies of the codes of vectors in a mapped file without a name: a search compares thousands of codes.

SQLite takes 4 µs to find and copy a code. In the file, the kernel has the pages in memory, and drops them when memory
is short. The file is written while the bits are loaded, follows them, and ends with the process; the database remains
the only durable place of the codes. Its space is reserved before use: a write to a mapped page without space on the
disk would end the process.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Final

import numpy as np

from swarm_operator.memory.sqlite.vectors.codes import Array, projections, unit
from swarm_operator.memory.sqlite.vectors.halves import Run, at_once

_GROWTH: Final = 8
"""Divisor of the space that is reserved beyond what is needed."""
_CHUNK: Final = 512
"""Codes that are compared at a time: the arrays fit into the processor's cache."""


class CodeFile:
    """Codes of one width, each at a place that it keeps.

    Args:
        folder: folder of the database, in which the file takes up its space.
        width: number of dimensions.

    Raises:
        OSError: of any method: the file can't be had, or the disk has too little space.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self._folder = folder
        self._width = width
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as this object is there
        weakref.finalize(self, file.close)
        self._file = file.fileno()
        self._count = 0
        self._codes: Array = np.empty((0, width), np.int8)

    def append(self, codes: Array) -> Array:
        """Add codes. Return their places."""
        start, self._count = self._count, self._count + len(codes)
        if self._count > len(self._codes):
            self._reserve(self._count + self._count // _GROWTH)
        self._codes[start : self._count] = codes
        return np.arange(start, self._count, dtype=np.uint32)

    def write(self, places: Array, codes: Array) -> None:
        """Replace the codes at these places."""
        self._codes[places] = codes

    def read(self, places: Array) -> Array:
        """Return the codes at these places, one in each row."""
        return self._codes.take(places, axis=0)

    def cosines(self, vector: bytes, places: Array, run: Run = at_once) -> Array:
        """Return the cosine of the angle between a query's vector and the code at each place."""
        query = unit(vector)
        found = np.empty(len(places), np.float32)

        def compare(start: int, end: int) -> None:
            for first in range(start, end, _CHUNK):
                last = min(first + _CHUNK, end)
                found[first:last] = projections(query, self.read(places[first:last]))

        run(compare, len(places))
        return found

    def _reserve(self, count: int) -> None:
        size = count * self._width
        more = size - self._codes.nbytes
        # Entries need the disk more than searches do.
        if shutil.disk_usage(self._folder).free < 2 * more + size:
            raise OSError("too little space")
        os.posix_fallocate(self._file, 0, size)
        self._codes = np.frombuffer(mmap.mmap(self._file, size), np.int8).reshape(count, self._width)
