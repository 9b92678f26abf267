"""Audit log: who administers the memory, one structured line of the service's log for each request.

Lines have the event `administration`, the action as `action`, the principal as `by`, and what the action is about. They
are written when the action begins, whatever comes of it: what is refused by rights is not among them.
"""

from __future__ import annotations

from typing import Any

import structlog

_log = structlog.get_logger(__name__)


def record(action: str, principal: str, **details: Any) -> None:
    """Write a line.

    Args:
        action: name of the operation.
        principal: name of the principal; never a token.
        details: what the action is about; None is left out.
    """
    told = {name: value for name, value in details.items() if value is not None}
    _log.info("administration", action=action, by=principal, **told)
