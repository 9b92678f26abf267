"""What the answer and the log lines of a request carry, so that both are found again, in a trace or without one.

A client that is traced sends W3C Trace Context (`traceparent`; OpenTelemetry's instrumented clients do so by
themselves), another one may send `X-Request-Id`. What is logged for the request then has `trace_id` and `span_id`, by
the names of OpenTelemetry's data model of logs, and `request_id`; and the answer has `X-Request-Id`. A request without
either gets an id of its own when it is refused.

https://www.w3.org/TR/trace-context/, https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
"""

from __future__ import annotations

import random
import re
from contextvars import ContextVar
from typing import Final

from structlog.contextvars import bind_contextvars

# Later versions may add fields behind; 00 has none, and ff is no version.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_current: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)


def bind(traceparent: str, given_id: str) -> str | None:
    """Take what a request brought; for this task, which is the request's.

    Args:
        traceparent: of W3C Trace Context; empty: it brought none.
        given_id: 1 to 128 letters, digits and `._:/+=@-`; empty: it brought none.

    Returns:
        What the answer carries: the id, or else the id of the trace; None without a valid one.
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
    """The id of this task's request; a new one, which its log lines have from now on, if it brought none."""
    current = _current.get()
    if current is None:
        current = f"{random.getrandbits(128):032x}"
        bind_contextvars(request_id=current)
        _current.set(current)
    return current
