"""List of all operations on the records of a swarm."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from swarm_operator.memory.service.http.routes import agents, consensus, leases, messages, patterns, scale, swarm, tasks

SUBJECT: Final = "this path"
ENDPOINTS: Final = tuple(
    replace(endpoint, operation=replace(endpoint.operation, subject=SUBJECT))
    for module in (agents, tasks, scale, patterns, consensus, leases, messages, swarm)
    for endpoint in module.ENDPOINTS
)
