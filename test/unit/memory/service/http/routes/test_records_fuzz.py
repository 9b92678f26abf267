"""Whatever is sent to any endpoint of records is answered, and never with a 5xx."""

import asyncio
import contextlib
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.budget import budget

from swarm_operator.memory.service.http.routes.records import ENDPOINTS

MEMBERS = st.sampled_from([
    "id", "type", "status", "agent", "agents", "lease", "types", "priority", "dependencies", "assignedAgents", "tags",
    "maxRetries", "capabilities", "choice", "voters", "options", "threshold", "minVotes", "deadlineSeconds", "success",
    "confidence", "message", "fromAgent", "toAgent", "result", "error", "reason", "history", "votes", "x",
])  # fmt: skip
WORDS = st.sampled_from(
    ["a", "b", "completed", "pending", "in_progress", "approve", "*", "", "../..", "' OR 1=1 --", "\0"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | WORDS | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=3), max_leaves=5
)
BODIES = st.dictionaries(MEMBERS, VALUES, max_size=5) | VALUES
IDS = st.sampled_from(["a", "b"]) | st.text(max_size=5)
QUERIES = st.dictionaries(
    st.sampled_from(["limit", "cursor", "status", "type", "agent", "since", "tag", "stale", "stale_after", "x"]),
    WORDS | st.text(max_size=5) | st.integers().map(str),
    max_size=2,
)


def test_nothing_that_is_sent_gives_a_5xx(start_service, clock):
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        service = runner.run(stack.enter_async_context(start_service(clock=clock)))

        @settings(max_examples=budget(200, long=500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(endpoint=st.sampled_from(ENDPOINTS), record_id=IDS, body=BODIES, query=QUERIES | st.just({}))
        def send(endpoint, record_id, body, query):
            raw = record_id.encode("utf-8", "surrogatepass")
            path = endpoint.operation.path.replace("{id}", quote(raw, safe=""))
            pairs = [
                f"{quote(name)}={quote(value.encode('utf-8', 'surrogatepass'), safe='')}"
                for name, value in query.items()
            ]
            if pairs:
                path += "?" + "&".join(pairs)
            try:
                answer = runner.run(service.call(endpoint.operation.method, path, body))
            except TypeError:  # no JSON: a lone surrogate
                return
            assert answer.status < 500, (endpoint, path, body, answer.body)
            if answer.status >= 400:
                assert answer.json["type"].startswith("urn:swarm-memory:problem:")

        send()
        runner.run(stack.aclose())
