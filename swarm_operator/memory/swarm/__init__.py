"""Records of a swarm, with the namespaces, keys, tags and lifetimes of the seed's SwarmMemory.

    swarm = Swarm(store)
    await swarm.agents.register("coder-1", {"type": "coder", "capabilities": ["python"]})
    await swarm.tasks.create({"id": "t1", "description": "write it down"})
    task = await swarm.tasks.claim_next("coder-1")

Each kind of record has a module. `record` holds the shared code, `fields` validates input. The modules use only the
Store protocol; decisions that depend on stored records are made in Store.transact.
"""

from swarm_operator.memory.swarm.errors import RecordNotFoundError, RecordStateError
from swarm_operator.memory.swarm.record import Record, RecordPage
from swarm_operator.memory.swarm.swarm import Swarm

__all__ = ["Record", "RecordNotFoundError", "RecordPage", "RecordStateError", "Swarm"]
