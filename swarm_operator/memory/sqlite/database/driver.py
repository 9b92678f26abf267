"""Which SQLite the engine uses: the one that the pysqlite3 wheel carries, else the one that Python was linked with.

The versions in stock Python images, up to 3.51.2, have the WAL-reset bug: when two connections write or checkpoint at
the same time, committed pages can be lost (fixed in 3.51.3, 3.50.7 and 3.44.6). Here exactly one connection does
either, which keeps clear of it; a library without the bug is the second line of defence. Both modules have the same
interface. All of the engine imports this one name: two libraries with the same file open in one process would take each
other's POSIX locks away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        from pysqlite3 import dbapi2 as sqlite3
    except ModuleNotFoundError:
        import sqlite3

__all__ = ["VERSION", "has_wal_reset_bug", "sqlite3"]

VERSION: Final = sqlite3.sqlite_version
"""Of the library in use, e.g. "3.53.4"."""

_FIXED: Final = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7), (3, 51): (3, 51, 3)}
"""The first version without the bug, of the release lines that got one; 3.52 never had it."""


def has_wal_reset_bug(version: str = VERSION) -> bool:
    """Whether that SQLite can lose committed pages when two connections write or checkpoint at the same time."""
    major, minor, patch = (int(number) for number in version.split("."))
    return (major, minor, patch) < _FIXED.get((major, minor), (3, 52, 0))
