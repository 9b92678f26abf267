"""Runs work on large JSON documents on threads of its own, so that the event loop keeps serving.

Parsing holds Python's global lock in short steps only (see strict_json), so the event loop runs in between. Two threads
also bound the memory that parsed documents take: a document takes many times the bytes of its text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

LARGE_BYTES: Final = 64 * 1024
"""Longer texts are worth the hop to a thread, which takes some 0.1 ms."""

_Result = TypeVar("_Result")
_THREADS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="memory-json")


async def run_on_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Return the result of a function that parses or encodes a text of more than LARGE_BYTES."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, function, *arguments)
