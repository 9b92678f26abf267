"""Responses to requests that were refused or failed."""

from __future__ import annotations

import structlog

from swarm_operator.memory.service.asgi import Reply, problem_reply
from swarm_operator.memory.service.problems import describe
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

_log = structlog.get_logger(__name__)


def failure_reply(error: Exception, *, method: str, route: str, metrics: ServiceMetrics) -> Reply:
    """Count an error, log it if it is a defect, and return the problem response."""
    problem = describe(error)
    metrics.refused(problem.code)
    if problem.status == 500:
        _log.error("request failed", method=method, route=route, exc_info=error)
    return problem_reply(problem)
