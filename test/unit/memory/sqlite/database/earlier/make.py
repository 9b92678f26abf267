"""Made the databases in this folder, each by the last commit whose schema has its version; kept to say what is in them.

To run it again: extract swarm_operator of the commit, name its folder in PYTHONPATH, and give the file's path.

    1: fd1e945, 2: 88f18fe, 3: 0e49868, 4: a8726eb, 5: 196822d, 6: ee15a81, 7: bfe2613
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

TEXT = "All work and no play makes Jack a dull boy; the queue was stuck. "

ENTRIES: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("team", "object", {"n": 1, "deep": [{"er": None}]}, {"tags": ["x", "y"], "metadata": {"by": "ada"}}),
    ("team", "text", '🐝 Zürich \u2028 "\\', {"tags": ["x"]}),
    ("team", "float", 1e-7, {}),
    ("team", "null", None, {}),
    ("team", "long", TEXT * 400, {"tags": ["long"]}),
    ("team", "century", 1, {"ttl": 3_153_600_000}),
    ("swarm:agents", "coder-1", {"type": "coder"}, {"tags": ["agent"]}),
    *(("many", f"key:{number:03}", number, {}) for number in range(30)),
]
"""Namespace, key, value, and what else is given: what each file has."""


async def make(path: Path) -> None:
    """Write the entries. `many/key:000` has version 2, and one entry was deleted."""
    try:
        store_class = importlib.import_module("swarm_operator.memory.sqlite").SqliteStore
    except ImportError:
        store_class = importlib.import_module("swarm_operator.memory.engine.store").MemoryStore
    async with store_class.open(path) as store:
        await store.put("many", "key:000", "before")
        for namespace, key, value, given in ENTRIES:
            await store.put(namespace, key, value, **given)
        await store.put("team", "deleted", 1)
        await store.delete("team", "deleted")


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
