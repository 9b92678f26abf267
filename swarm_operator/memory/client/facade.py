"""Methods without `await`, derived from asynchronous ones: the same parameters, results and documentation."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from swarm_operator.memory.client.loop_thread import LoopThread

_C = TypeVar("_C")
_C_co = TypeVar("_C_co", covariant=True)
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Facade(Generic[_C_co]):
    """Base class: an asynchronous client, and the thread that it runs in."""

    def __init__(self, target: _C_co, loop: LoopThread) -> None:
        self._target = target
        self._loop = loop


def call(
    method: Callable[Concatenate[_C, _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate[Facade[_C], _P], _R]:
    """Return the method that waits for the result of an asynchronous one."""

    @functools.wraps(method)
    def call(self: Facade[_C], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return self._loop.run(method(self._target, *args, **kwargs))

    return call


def stream(
    method: Callable[Concatenate[_C, _P], AsyncIterator[_R]],
) -> Callable[Concatenate[Facade[_C], _P], Generator[_R, None, None]]:
    """Return the method that yields the items of an asynchronous one."""

    @functools.wraps(method)
    def stream(self: Facade[_C], /, *args: _P.args, **kwargs: _P.kwargs) -> Generator[_R, None, None]:
        return self._loop.iterate(method(self._target, *args, **kwargs))

    return stream
