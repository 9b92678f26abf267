"""Selects the SQLite library: the one in the pysqlite3 wheel if installed, else the standard library's.

The versions in stock Python images, up to 3.51.2, have the WAL-reset bug: when two connections write or checkpoint at
the same time, committed pages can be lost. The bug is fixed in 3.51.3, 3.50.7 and 3.44.6. The engine avoids the bug
with a single writing connection; a fixed library is an additional protection. Both modules have the same interface.
The whole engine must import `sqlite3` from here: two libraries that open the same file in one process would release
each other's POSIX locks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3 as sqlite3
else:
    try:
        from pysqlite3 import dbapi2 as sqlite3
    except ModuleNotFoundError:
        import sqlite3

# Without an adapter, each bound value of other types than int, float and str takes 1.4 us: the module looks for methods
# that these lack. With a function in C that returns the same value it takes 0.2 us.
sqlite3.register_adapter(bytes, bytes.__bytes__)
sqlite3.register_adapter(type(None), {}.get)  # type: ignore[arg-type]

VERSION: Final = sqlite3.sqlite_version
"""Version of the library in use, e.g. "3.53.4"."""

_FIXED: Final = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7), (3, 51): (3, 51, 3)}
"""First fixed version of each patched release line. 3.52 never had the bug."""


def has_wal_reset_bug(version: str = VERSION) -> bool:
    """Return whether this SQLite version has the WAL-reset bug (see the module docstring)."""
    major, minor, patch = (int(number) for number in version.split("."))
    return (major, minor, patch) < _FIXED.get((major, minor), (3, 52, 0))
