"""An event loop in its own thread, for the synchronous client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any, TypeVar

_R = TypeVar("_R")


class LoopThread:
    """Runs coroutines for callers in other threads, which wait for their results."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        # With a factory the runner leaves the calling thread's own event loop alone.
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = runner.get_loop()
        self._thread = threading.Thread(target=_serve, args=(runner,), name="swarm-memory-client", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cancel the running tasks, and end the thread."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def run(self, coroutine: Coroutine[Any, Any, _R]) -> _R:
        """Run a coroutine and return its result. An exception in the waiting thread, such as Ctrl-C, cancels it.

        Raises:
            RuntimeError: the thread does not run, or the call comes from a callback in it.
        """
        if self._loop is None or threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "use SyncMemoryClient as a context manager"
                if self._loop is None
                else "a callback cannot use the client"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[_R]) -> Generator[_R, None, None]:
        """Yield the items of an asynchronous generator.

        When the iteration ends early, nothing refers to `source` any more, and its event loop closes it (PEP 525).
        """
        while found := self.run(_next(source)):
            yield found[0]


def _serve(runner: asyncio.Runner) -> None:
    """Run the loop until it is stopped. At the end, the runner cancels all tasks and closes all generators."""
    with runner:
        runner.get_loop().run_forever()


async def _next(source: AsyncIterator[_R]) -> tuple[_R] | tuple[()]:
    """Return the next item, or nothing at the end."""
    async for item in source:
        return (item,)
    return ()
