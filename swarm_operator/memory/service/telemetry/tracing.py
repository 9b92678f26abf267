"""Correlates the response and the log lines of a request, with or without a trace.

A traced client sends W3C Trace Context (`traceparent`; OpenTelemetry instrumentation does so automatically). Other
clients may send `X-Request-Id`. The request's log lines then have `trace_id` and `span_id`, named as in OpenTelemetry's
log data model, and `request_id`; the response has `X-Request-Id`. A request with neither header gets a new ID if the
request is rejected.

https://www.w3.org/TR/trace-context/, https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

from structlog.contextvars import bind_contextvars

# Later versions may append fields; version 00 has no further fields, and version ff is invalid.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_current: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)


def bind(traceparent: str, given_id: str) -> str | None:
    """Bind the IDs of a request to the current task, which must be the request's own.

    Args:
        traceparent: `traceparent` of W3C Trace Context; empty: not sent.
        given_id: 1 to 128 letters, digits and `._:/+=@-`; empty: not sent.

    Returns:
        ID for the response: the request ID, or else the trace ID; None if neither is valid.
    """
    names: dict[str, str] = {}
    if match := _TRACEPARENT.fullmatch(traceparent):
        version, trace_id, span_id, more = match.groups()
        if version != "00" or more is None:
            names |= {"trace_id": trace_id, "span_id": span_id}
    if _REQUEST_ID.fullmatch(given_id):
        names["request_id"] = given_id
    if not names:
        return None
    bind_contextvars(**names)
    current = names.get("request_id", names.get("trace_id"))
    _current.set(current)
    return current


def request_id() -> str:
    """Return the ID of this task's request. If the client sent none, create an ID and bind it to the log lines."""
    current = _current.get()
    if current is None:
        current = secrets.token_hex(16)
        bind_contextvars(request_id=current)
        _current.set(current)
    return current
