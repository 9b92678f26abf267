"""The records of a swarm, in the namespaces, keys, tags and lifetimes of the seed's SwarmMemory.

    swarm = Swarm(store)
    await swarm.agents.register("coder-1", {"type": "coder", "capabilities": ["python"]})
    await swarm.tasks.create({"id": "t1", "description": "write it down"})
    task = await swarm.tasks.claim_next("coder-1")

Each kind has a module; what they share is in record, and the checks of what comes in are in fields. They are built on
Store alone: what has to be decided on stored records is decided in Store.transact.
"""

from swarm_operator.memory.swarm.errors import RecordNotFoundError, RecordStateError
from swarm_operator.memory.swarm.record import Record, RecordPage
from swarm_operator.memory.swarm.swarm import Swarm

__all__ = ["Record", "RecordNotFoundError", "RecordPage", "RecordStateError", "Swarm"]
