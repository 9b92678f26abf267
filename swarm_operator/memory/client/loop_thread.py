"""An event loop in a thread of its own, for the synchronous client."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator
from typing import Any, TypeVar

_R = TypeVar("_R")


class LoopThread:
    """Runs coroutines for callers in other threads, which wait for their results."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the thread."""
        # With a factory the runner leaves the calling thread's own event loop alone.
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = runner.get_loop()
        self._thread = threading.Thread(target=_serve, args=(runner,), name="swarm-memory-client", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cancel what still runs, and end the thread."""
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
        """Yield what an asynchronous generator yields; close it when the iteration ends early."""
        try:
            while found := self.run(_next(source)):
                yield found[0]
        finally:
            # Not waited for: the garbage collector may end the iteration, in any thread, this one's loop included.
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop was closed, and has closed the generator
                    self._loop.call_soon_threadsafe(self._close, source)

    def _close(self, source: AsyncIterator[Any]) -> None:
        task = asyncio.ensure_future(_aclose(source))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _serve(runner: asyncio.Runner) -> None:
    """Run the loop until it is stopped. At the end, the runner cancels all tasks and closes all generators."""
    with runner:
        runner.get_loop().run_forever()


async def _next(source: AsyncIterator[_R]) -> tuple[_R] | tuple[()]:
    """Return the next item, or nothing at the end."""
    async for item in source:
        return (item,)
    return ()


async def _aclose(source: AsyncIterator[Any]) -> None:
    if isinstance(source, AsyncGenerator):
        with contextlib.suppress(RuntimeError):  # it is running: its task was cancelled
            await source.aclose()
