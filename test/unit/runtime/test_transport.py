import ssl

import aiohttp
import pytest
from aiohttp import web
from support.authority import Authority

from swarm_operator.runtime.kubernetes_asyncio import Configuration
from swarm_operator.runtime.transport import Transport

TIMEOUT = aiohttp.ClientTimeout(total=60)


@pytest.fixture
def first(clock):
    return Authority("first", clock.now())


@pytest.fixture
def second(clock):
    return Authority("second", clock.now())


class Tls:
    """An HTTPS server that has the certificate that it was given last."""

    def __init__(self):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.url = ""

    async def handle(self, _):
        return web.Response(text="hello", headers={"Connection": "close"})


@pytest.fixture
async def server(first, tmp_path):
    tls = Tls()
    tls.context.load_cert_chain(first.server(tmp_path / "server.pem"))
    app = web.Application()
    app.router.add_get("/", tls.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls.context).start()
    tls.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield tls
    await runner.cleanup()


@pytest.fixture
def ca(first, tmp_path):
    path = tmp_path / "ca.crt"
    path.write_bytes(first.certificate)
    return path


@pytest.fixture
async def transport(server, ca, clock):
    configuration = Configuration()
    configuration.host, configuration.ssl_ca_cert = server.url, str(ca)
    made = Transport(configuration, clock=clock)
    yield made
    await made.close()


async def ask(transport, url):
    response = await transport.request("GET", f"{url}/", query=None, headers={}, body=None, timeout=TIMEOUT)
    async with response:
        return await response.text()


async def test_a_server_with_a_certificate_of_the_renewed_ca_is_trusted_at_once(
    transport, server, ca, second, tmp_path
):
    assert await ask(transport, server.url) == "hello"
    server.context.load_cert_chain(second.server(tmp_path / "server.pem"))
    ca.write_bytes(second.certificate)
    assert await ask(transport, server.url) == "hello"


async def test_before_the_file_is_renewed_it_is_not(transport, server, ca, second, tmp_path):
    server.context.load_cert_chain(second.server(tmp_path / "server.pem"))
    for _ in range(2):
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(transport, server.url)
    ca.write_bytes(second.certificate)
    assert await ask(transport, server.url) == "hello"


async def test_a_ca_that_is_no_longer_in_the_file_is_no_longer_trusted_after_a_minute(
    transport, server, ca, second, clock
):
    ca.write_bytes(second.certificate)
    clock.advance(59)
    assert await ask(transport, server.url) == "hello"
    clock.advance(1)
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await ask(transport, server.url)


async def test_another_client_certificate_in_the_configuration_is_used_at_once(server, ca, first, clock, tmp_path):
    """An exec plugin has returned it."""
    configuration = Configuration()
    configuration.host, configuration.ssl_ca_cert = server.url, str(ca)
    server.context.verify_mode = ssl.CERT_REQUIRED
    server.context.load_verify_locations(ca)
    transport = Transport(configuration, clock=clock)
    with pytest.raises(aiohttp.ClientError):
        await ask(transport, server.url)
    configuration.cert_file = configuration.key_file = str(first.server(tmp_path / "client.pem"))
    assert await ask(transport, server.url) == "hello"
    await transport.close()


async def test_half_a_file_and_a_missing_one_leave_what_was_trusted(transport, server, ca, first, second, clock):
    for broken in (b"", second.certificate[:100]):
        ca.write_bytes(broken)
        clock.advance(60)
        assert await ask(transport, server.url) == "hello"
    ca.unlink()
    clock.advance(60)
    assert await ask(transport, server.url) == "hello"
    ca.write_bytes(first.certificate + second.certificate)
    clock.advance(60)
    assert await ask(transport, server.url) == "hello"


async def test_nothing_is_connected_anew_while_the_files_are_the_same(transport, server, ca, first, clock):
    session = transport._rest.pool_manager
    for _ in range(3):
        ca.write_bytes(first.certificate)
        clock.advance(60)
        await ask(transport, server.url)
    assert transport._rest.pool_manager is session


async def test_a_stream_that_is_open_goes_on_when_the_ca_is_renewed(transport, server, ca, first, second, clock):
    response = await transport.request("GET", f"{server.url}/", query=None, headers={}, body=None, timeout=TIMEOUT)
    ca.write_bytes(first.certificate + second.certificate)
    clock.advance(60)
    assert await ask(transport, server.url) == "hello"
    async with response:
        assert await response.text() == "hello"
    sessions = [transport._rest.pool_manager, transport._retired.pool_manager]
    await transport.close()
    assert all(session.closed for session in sessions)


async def test_of_many_renewals_one_old_pool_is_kept(transport, server, ca, first, second, clock):
    oldest = transport._rest.pool_manager
    for bundle in (first.certificate + second.certificate, first.certificate):
        ca.write_bytes(bundle)
        clock.advance(60)
        await ask(transport, server.url)
    assert oldest.closed


async def test_a_proxy_of_the_environment_is_left_alone(monkeypatch, transport, server):
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert await ask(transport, server.url) == "hello"


async def test_a_proxy_of_the_kubeconfig_is_used(server, ca, clock):
    configuration = Configuration()
    configuration.host, configuration.ssl_ca_cert = server.url, str(ca)
    configuration.proxy = "http://127.0.0.1:9"
    transport = Transport(configuration, clock=clock)
    with pytest.raises(aiohttp.ClientProxyConnectionError):
        await ask(transport, server.url)
    await transport.close()
