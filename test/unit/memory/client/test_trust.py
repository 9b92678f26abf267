"""TLS of the client: which CA it trusts, and how a file with CA certificates is renewed."""

from datetime import UTC, datetime

import pytest
from support.authority import Authority
from unit.memory.conftest import TOKEN

from swarm_operator.memory.client import MemoryClient, MemoryClientError, MemoryUnavailableError, SyncMemoryClient


@pytest.fixture(scope="module")
def authority():
    return Authority("ours", datetime.now(UTC))


@pytest.fixture(scope="module")
def other():
    return Authority("another", datetime.now(UTC))


def client_of(service, **options):
    return MemoryClient(f"https://127.0.0.1:{service.port}", token=TOKEN, retries=0, **options)


async def put(client, _):
    await client.put("n", "k", 1, create_only=True)


async def export(client, _):
    return [line async for line in client.swarm.export()]


async def import_(client, exported):
    async def lines():
        for line in exported:
            yield line

    await client.swarm.import_(lines())


async def test_a_service_is_trusted_by_a_ca_only(start_service, authority, other, tmp_path):
    file = tmp_path / "ca.crt"
    file.write_bytes(authority.certificate)
    async with start_service(authority=authority) as service:
        for options in ({"ca_file": file}, {"ca_data": authority.certificate.decode()}):
            async with client_of(service, **options) as client:
                await client.put("n", "k", 1)
        for options in ({}, {"ca_data": other.certificate.decode()}):
            async with client_of(service, **options) as client:
                with pytest.raises(MemoryUnavailableError, match="certificate verify failed") as caught:
                    await client.put("n", "k", 2, create_only=True)
                assert not caught.value.uncertain
        async with client_of(service, ca_file=file) as client:
            assert (await client.get("n", "k")).value == 1


async def test_another_name_is_refused(start_service, authority):
    async with start_service(authority=authority) as service:
        url = f"https://localhost:{service.port}"
        async with MemoryClient(url, token=TOKEN, retries=0, ca_data=authority.certificate.decode()) as client:
            with pytest.raises(MemoryUnavailableError, match="not valid for 'localhost'"):
                await client.stats()


@pytest.mark.parametrize("call", [put, export, import_])
async def test_a_renewed_ca_is_read_when_the_former_does_not_do(start_service, authority, other, tmp_path, call):
    file = tmp_path / "ca.crt"
    file.write_bytes(other.certificate)
    async with start_service(authority=authority) as service, client_of(service, ca_file=file) as client:
        async with client_of(service, ca_data=authority.certificate.decode()) as trusting:
            exported = await export(trusting, None)
        with pytest.raises(MemoryUnavailableError):
            await client.stats()
        file.write_bytes(other.certificate + authority.certificate)
        await call(client, exported)


@pytest.mark.parametrize("content", [None, "", "no certificate", "\N{SNOWMAN}"])
async def test_a_file_without_a_ca_is_told(tmp_path, content):
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    async with MemoryClient("https://127.0.0.1:1", token=TOKEN, ca_file=file, retries=0) as client:
        with pytest.raises(MemoryClientError, match=r"cannot read CA certificates in PEM from .*ca\.crt"):
            await client.stats()


def test_the_synchronous_client_takes_the_same(tmp_path):
    client = SyncMemoryClient("https://127.0.0.1:1", token=TOKEN, ca_file=tmp_path / "none", retries=0)
    with client, pytest.raises(MemoryClientError, match="cannot read CA certificates"):
        client.stats()
