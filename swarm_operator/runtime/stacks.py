"""Log of what the process is doing: the stacks of its asyncio tasks and threads.

Only names of tasks, places in the code and lines of source are logged: no arguments and no variables, which may hold
tokens. Tasks with equal stacks share an entry, since a process has up to thousands of them.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections import defaultdict
from collections.abc import Iterator
from types import FrameType
from typing import Any

import structlog

log = structlog.get_logger(__name__)

_MAX_NAMES = 10
"""Names of tasks that an entry has; `count` has the number of all."""


def dump() -> None:
    """Log the stacks of all tasks of the running loop, then those of all threads, as warnings."""
    tasks = defaultdict(list)
    for task in asyncio.all_tasks():
        tasks[_stack_of(task)].append(task.get_name())
    for stack, names in sorted(tasks.items(), key=lambda item: -len(item[1])):
        log.warning("stack of tasks", count=len(names), tasks=sorted(names)[:_MAX_NAMES], stack=stack)
    threads = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way to other threads' stacks
        log.warning("stack of a thread", thread=threads.get(ident, ""), stack="".join(traceback.format_stack(frame)))


def _stack_of(task: asyncio.Task[Any]) -> str:
    """Return the stack of a task, outermost call first."""
    frames = ((frame, frame.f_lineno) for frame in _frames_of(task.get_coro()))
    return "".join(traceback.StackSummary.extract(frames, capture_locals=False).format())


def _frames_of(awaited: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of what it awaits. Task.get_stack has only the first if it is suspended."""
    while awaited is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None:
            return
        frame = getattr(awaited, f"{kind}_frame")
        if frame is not None:
            yield frame
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
