"""Work on threads, so that the event loop keeps serving: large JSON documents, work that can be stopped, priorities.

JSON has one thread. The thread holds Python's global lock in short steps where possible (see strict_json), so the event
loop runs in between. A second thread would not raise the throughput, because both would wait for the lock, and the
event loop would wait for both. One thread also bounds the memory of parsed documents, which take many times the bytes
of their text.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

LARGE_BYTES: Final = 64 * 1024
"""Minimum bytes of a text that is processed on the thread. A switch to the thread takes some 0.1 ms."""

_Result = TypeVar("_Result")
_THREAD: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="memory-json")
_SWITCH_SECONDS: Final = 0.0005
"""Seconds for which the thread keeps Python's global lock while other threads wait. The event loop releases the lock
whenever it polls for input, so a request waits several times. The interval applies to all threads while the thread
works. Otherwise they have Python's default of 5 ms, with which short steps of many threads cost less."""


_NICE: Final = 10
"""Niceness of lower_priority: a tenth of the processor time of a thread with the usual niceness of 0."""


def lower_priority() -> None:
    """Let threads with the usual priority run before this thread from now on, where both need the same processor.

    A processor without other work runs it as before. Only Linux has a niceness for each thread, see setpriority(2).
    """
    if sys.platform == "linux":
        with contextlib.suppress(PermissionError):  # the process has a lower priority already
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


async def run_on_thread(function: Callable[..., _Result], *arguments: Any) -> _Result:
    """Return the result of a function that parses or encodes more than LARGE_BYTES, from the thread."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, _run, function, *arguments)


def _run(function: Callable[..., _Result], *arguments: Any) -> _Result:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        return function(*arguments)
    finally:
        sys.setswitchinterval(usual)


async def run_stoppable(function: Callable[[], _Result], stop: threading.Event) -> _Result:
    """Return the result of a function that ends early once `stop` is set. See run_to_completion."""
    return await run_to_completion(asyncio.to_thread(function), stop)


async def run_to_completion(work: Coroutine[None, None, _Result], stop: threading.Event) -> _Result:
    """Wait for work on a thread. If the caller is cancelled, set `stop` and wait until the work has ended."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # mark the exception as retrieved
        raise
