"""Dependencies of tasks: which are completed, and detection of dependency cycles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import fields
from swarm_operator.memory.swarm.record import texts_of
from swarm_operator.memory.swarm.tasks.rules import status_of

MAX_UPSTREAM: Final = 1000
"""Limit of the direct and transitive dependencies of a task."""

Tasks = dict[str, dict[str, Any] | None]


class Unforeseen(Exception):  # noqa: N818 - no failure: the caller looks again
    """Raised when a concurrent change of dependencies requires reading more tasks.

    Attributes:
        task_id: the first task that has not been read.
    """

    def __init__(self, task_id: str) -> None:
        super().__init__(task_id)
        self.task_id = task_id


def of(task: Mapping[str, Any]) -> list[str]:
    """Return the ids of a stored task's dependencies; omit invalid ids."""
    return [name for name in dict.fromkeys(texts_of(dict(task), "dependencies")) if _is_id(name)]


def unmet(task: Mapping[str, Any], known: Tasks) -> list[str]:
    """Return the dependencies that are not completed, including those that do not exist or are not in `known`.

    A dependency that was completed when the task declared it stays completed: cleanup may have deleted it since.
    """
    done = texts_of(dict(task), "completedDependencies")
    names = dict.fromkeys(texts_of(dict(task), "dependencies"))
    return [name for name in names if name not in done and not _completed(known.get(name))]


def completed(names: Sequence[str], known: Tasks) -> list[str]:
    """Return the names of the tasks that are completed."""
    return [name for name in names if _completed(known.get(name))]


async def upstream(
    start: Sequence[str], read: Callable[[list[str]], Awaitable[list[dict[str, Any] | None]]]
) -> list[str]:
    """Return the given ids and the ids of all their transitive dependencies.

    Raises:
        InvalidInputError: there are more than MAX_UPSTREAM ids.
    """
    seen = dict.fromkeys(start)
    level = list(seen)
    while level:
        if len(seen) > MAX_UPSTREAM:
            raise InvalidInputError("dependencies", f"at most {MAX_UPSTREAM} tasks, with those that they wait for")
        found = await read(level)
        level = [new for task in found if task is not None for new in of(task) if new not in seen]
        level = list(dict.fromkeys(level))
        seen |= dict.fromkeys(level)
    return list(seen)


def check_acyclic(task_id: str, dependencies: Sequence[str], known: Tasks) -> None:
    """Check that the dependencies of a task exist and form no cycle.

    Args:
        task_id: the task.
        dependencies: the dependencies to check.
        known: all direct and transitive dependencies; None for tasks that do not exist.

    Raises:
        InvalidInputError: a dependency does not exist, or depends on the task itself.
        Unforeseen: `known` lacks a task.
    """
    for index, dependency in enumerate(dependencies):
        if dependency in known and known[dependency] is None:
            raise InvalidInputError(f"dependencies[{index}]", f"the id of a task; there is no task {dependency!r}")
    for index, dependency in enumerate(dependencies):
        seen = {dependency}
        left = [dependency]
        while left:
            current = left.pop()
            if current == task_id:
                raise InvalidInputError(
                    f"dependencies[{index}]", f"a task that does not wait for {task_id!r} itself; {dependency!r} does"
                )
            if current not in known:
                raise Unforeseen(current)
            for other in of(known[current] or {}):
                if other not in seen:
                    seen.add(other)
                    left.append(other)


def _completed(task: dict[str, Any] | None) -> bool:
    return task is not None and status_of(task) == "completed"


def _is_id(name: str) -> bool:
    try:
        fields.identifier("id", name)
    except InvalidInputError:
        return False
    return True
