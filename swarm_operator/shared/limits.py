"""Limits of what the operator passes on to the memory service: settings of stores, and requests.

The CRDs refuse what the service would refuse: a pod whose settings are out of range cannot start.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Range(NamedTuple):
    """Allowed values of a setting, both ends included."""

    least: int
    most: int


CACHE_SIZE = Range(1, 10_000_000)
"""Entries."""
CACHE_MEMORY_MB = Range(1, 65_536)
"""MiB."""
COMPRESSION_THRESHOLD = Range(0, 2**31 - 1)
"""Bytes."""
GC_INTERVAL = Range(1, 10**10)
"""Seconds."""
NAMESPACE_BYTES = Range(1, 255)
"""Length of a namespace as UTF-8."""
KEY_BYTES = Range(1, 1024)
"""Length of a key as UTF-8."""
RESTORE_NAMESPACES = Range(1, 1000)
"""Namespaces that a restore names."""
EMBEDDER_MODES = ("none", "static", "http")
"""Kinds of embedders."""
VECTOR_WIDTH = Range(1, 4096)
"""Dimensions of a vector."""
EMBEDDER_TIMEOUT = Range(1, 300)
"""Seconds."""
EMBEDDER_BATCH = Range(1, 2048)
"""Texts in a request to an embedder."""
SEARCH_LANGUAGES: Final = ("none", "english")
"""Languages whose endings a search ignores. The first one is the default."""
