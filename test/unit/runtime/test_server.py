import socket

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from swarm_operator.runtime.delegated_auth import Verdict
from swarm_operator.runtime.health import Checks
from swarm_operator.runtime.server import Server, health_app, listen, metrics_app, parse_address
from swarm_operator.runtime.serving_cert import ServingCertificate


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", ("", 8080)),
        ("127.0.0.1:8081", ("127.0.0.1", 8081)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("0", None),
    ],
)
def test_addresses_are_written_as_in_go(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8080", "host", "host:", ":http", ":65536", ":-1"])
def test_what_is_no_address_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(("address", "reached"), [("", ["127.0.0.1", "::1"]), ("127.0.0.1", ["127.0.0.1"])])
async def test_no_host_is_every_address_of_both_families(address, reached):
    with listen(address, 0) as listening:
        port = listening.getsockname()[1]
        for host in reached:
            socket.create_connection((host, port), timeout=60).close()
        for host in {"127.0.0.1", "::1"} - set(reached):
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((host, port), timeout=60)


async def test_without_ipv6_no_host_is_every_address_of_ipv4(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen("", 0) as listening:
        assert listening.getsockname()[0] == "0.0.0.0"


@pytest.fixture
async def get():
    """Serves an application and asks it."""
    servers, sessions = [], []

    async def ask(app, path, **headers):
        server = Server(app, ("127.0.0.1", 0))
        servers.append(server)
        await server.start()
        host, port = server.address
        session = aiohttp.ClientSession()
        sessions.append(session)
        async with session.get(f"http://{host}:{port}{path}", headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers["Content-Type"]

    yield ask
    for session in sessions:
        await session.close()
    for server in servers:
        await server.close()


@pytest.fixture
def app():
    healthz, readyz = Checks(), Checks()
    healthz.add("tasks", lambda: None)
    readyz.add("informers", lambda: "not listed: secret things")
    return health_app(healthz, readyz)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/healthz", 200, "ok"),
        ("/healthz/tasks", 200, "ok"),
        ("/healthz?verbose", 200, "[+]ping ok\n[+]tasks ok\nhealthz check passed\n"),
        ("/healthz?verbose&exclude=ping", 200, "[+]tasks ok\nhealthz check passed\n"),
        ("/readyz", 500, "[+]ping ok\n[-]informers failed: reason withheld\nreadyz check failed\n"),
        ("/readyz/ping", 200, "ok"),
        ("/readyz/informers", 500, "[-]informers failed: reason withheld\nreadyz check failed\n"),
        ("/readyz?exclude=informers", 200, "ok"),
        ("/readyz/unknown", 404, "no check named unknown\n"),
    ],
)
async def test_health_is_told_as_controller_runtime_tells_it(get, app, path, status, text):
    assert (await get(app, path))[:2] == (status, text)


async def test_the_reason_of_a_failure_goes_to_the_log_only(get, app, logged):
    _, text, _ = await get(app, "/readyz?verbose")
    assert "secret" not in text
    assert [entry["reason"] for entry in logged if entry["event"] == "health check failed"] == [
        "not listed: secret things"
    ]


@pytest.fixture
def registry():
    registry = CollectorRegistry()
    Counter("bees", "Number of bees", registry=registry).inc(3)
    return registry


async def test_metrics_come_in_the_text_format(get, registry):
    status, text, content_type = await get(metrics_app(registry), "/metrics")
    assert status == 200
    assert "bees_total 3.0" in text
    assert content_type.startswith("text/plain")


async def test_metrics_come_in_the_format_that_is_asked_for(get, registry):
    _, text, content_type = await get(
        metrics_app(registry), "/metrics", Accept="application/openmetrics-text; version=1.0.0"
    )
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


async def test_nothing_else_is_served(get, registry):
    assert (await get(metrics_app(registry), "/"))[0] == 404


async def test_a_stopped_server_s_port_is_free_again(registry):
    first = Server(metrics_app(registry), ("127.0.0.1", 0))
    await first.start()
    await first.close()
    second = Server(metrics_app(registry), first.address)
    await second.start()
    assert second.address == first.address
    await second.close()


async def test_a_server_renews_its_certificate_while_it_runs(registry, monkeypatch):
    async def broken(_):
        raise LookupError("broken")

    monkeypatch.setattr(ServingCertificate, "run", broken)
    with pytest.raises(LookupError):
        await Server(metrics_app(registry), ("127.0.0.1", 0), certificate=ServingCertificate()).run()


class Judge:
    def __init__(self, verdict):
        self.verdict = verdict
        self.asked = []

    async def judge(self, authorization, method, path):
        self.asked.append((authorization, method, path))
        return self.verdict


@pytest.mark.parametrize(
    ("verdict", "status", "text"),
    [
        (Verdict.UNAUTHENTICATED, 401, "Unauthorized\n"),
        (Verdict.DENIED, 403, "Forbidden\n"),
        (Verdict.BUSY, 429, "Too many requests\n"),
        (Verdict.UNKNOWN, 500, "Internal error\n"),
    ],
)
async def test_who_may_not_read_the_metrics_learns_no_more_than_that(get, registry, verdict, status, text):
    judge = Judge(verdict)
    assert (await get(metrics_app(registry, auth=judge), "/metrics", Authorization="Bearer t"))[:2] == (status, text)
    assert judge.asked == [("Bearer t", "GET", "/metrics")]


async def test_who_may_not_is_not_even_told_what_is_there(get, registry):
    assert (await get(metrics_app(registry, auth=Judge(Verdict.UNAUTHENTICATED)), "/nothing"))[0] == 401


async def test_who_may_reads_the_metrics(get, registry):
    status, text, _ = await get(metrics_app(registry, auth=Judge(Verdict.ALLOWED)), "/metrics")
    assert status == 200
    assert "bees_total 3.0" in text
