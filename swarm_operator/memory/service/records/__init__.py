"""The swarm's records over HTTP: `/v1/agents`, `/v1/tasks`, ... Each kind has a module with its endpoints.

Paths are taken as they were sent, like those of entries: an id may hold any character, escaped.
"""

from swarm_operator.memory.service.records.routes import ENDPOINTS, OPERATIONS, RecordRoutes

__all__ = ["ENDPOINTS", "OPERATIONS", "RecordRoutes"]
