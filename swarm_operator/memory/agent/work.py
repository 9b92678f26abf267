"""Work on a task: the interface, and the default, which stores the task's description and finds related entries."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from swarm_operator.memory.agent.patience import persist
from swarm_operator.memory.client import MemoryClient, MemoryRequestError

NAMESPACE: Final = "swarm:work"
"""Namespace of the entries of MemoryWork; the key is the task's ID."""
_MAX_RELATED: Final = 5
_MAX_WORDS: Final = 16
_WORD: Final = re.compile(r"[^\W_]{3,40}")

Work: TypeAlias = Callable[[dict[str, Any]], Awaitable[Any]]
"""Carries out a task, a record of the memory, and returns its result, a JSON value. It is cancelled when the agent
loses the task. Any exception fails the task."""


class WorkError(Exception):
    """The work failed. The message becomes the task's error."""


class MemoryWork:
    """Stores the description of a task, and returns other descriptions that share words with it.

    Args:
        client: client of the memory.
        agent_id: ID of the agent, stored in the entry.
    """

    def __init__(self, client: MemoryClient, agent_id: str) -> None:
        self._client = client
        self._agent_id = agent_id

    async def __call__(self, task: dict[str, Any]) -> dict[str, Any]:
        """Carry out a task; see Work. The result has `stored`, and `related` with the best matches first.

        `related` is null if the memory has no index of words.
        """
        client, task_id = self._client, task["id"]
        description = task.get("description")
        value = {"task": task_id, "type": task.get("type"), "description": description, "agent": self._agent_id}
        await persist(lambda: client.put(NAMESPACE, task_id, value, tags=["work"]))
        return {
            "stored": {"namespace": NAMESPACE, "key": task_id},
            "related": await self._related(task_id, description),
        }

    async def _related(self, task_id: str, description: Any) -> list[dict[str, Any]] | None:
        words = dict.fromkeys(_WORD.findall(description)) if isinstance(description, str) else {}
        if not words:
            return []
        expression = " OR ".join(f'"{word}"' for word in [*words][:_MAX_WORDS])
        try:
            page = await persist(
                lambda: self._client.search(namespace=NAMESPACE, match=expression, values=False, limit=_MAX_RELATED + 1)
            )
        except MemoryRequestError:
            return None
        others = [hit for hit in page.hits if hit.key != task_id]
        return [{"namespace": hit.namespace, "key": hit.key} for hit in others[:_MAX_RELATED]]
