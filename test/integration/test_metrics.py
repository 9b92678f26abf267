"""Who may read /metrics: a real API server judges tokens of ServiceAccounts, and the operator has only its Role."""

from __future__ import annotations

import asyncio
import ssl

import aiohttp
import pytest

from swarm_operator.runtime.leader_election import LEASES
from swarm_operator.runtime.resource import Resource

BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False)


@pytest.fixture
def token_of(account_token, admin, namespace):
    """Tokens of new ServiceAccounts."""

    async def make(name: str, *, reader: bool) -> str:
        if reader:
            binding = {
                "apiVersion": BINDINGS.api_version,
                "kind": BINDINGS.kind,
                "metadata": {"name": f"{namespace}-{name}"},
                "roleRef": {
                    "apiGroup": BINDINGS.group,
                    "kind": "ClusterRole",
                    "name": "swarm-operator-metrics-reader",
                },
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            await admin.create(BINDINGS, binding, field_manager="test")
        return await account_token(name)

    return make


@pytest.fixture
async def secured(start_operator, eventually):
    """An operator with secure metrics."""

    async def start(*flags: str):
        operator = start_operator("--metrics-secure", *flags)
        await eventually(lambda: asyncio.to_thread(operator.ready))
        return operator

    return start


async def scrape(operator, token: str | None = None, *, context: ssl.SSLContext | bool = False) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"https://localhost:{operator.metrics_port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=context) as answer:
        return answer.status, await answer.text()


async def test_only_who_may_get_them_gets_the_metrics(secured, token_of):
    operator = await secured()
    reader, outsider = await token_of("reader", reader=True), await token_of("outsider", reader=False)
    assert await scrape(operator) == (401, "Unauthorized\n")
    assert await scrape(operator, "wrong") == (401, "Unauthorized\n")
    assert await scrape(operator, reader[:-5] + "AAAAA") == (401, "Unauthorized\n")
    assert await scrape(operator, outsider) == (403, "Forbidden\n")
    status, text = await scrape(operator, reader)
    assert status == 200
    assert 'controller_runtime_reconcile_total{controller="swarmmemorystore",result="success"}' in text
    for token in (reader, outsider):
        assert token not in operator.log.read_text()


def reviews(text: str) -> float:
    counted = [line for line in text.splitlines() if line.startswith('rest_client_requests_total{code="201",')]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counted if 'method="POST"' in line)


async def test_a_scrape_costs_no_request_while_the_answers_are_fresh(secured, token_of):
    operator = await secured()
    reader = await token_of("reader", reader=True)
    _, first = await scrape(operator, reader)
    _, last = [await scrape(operator, reader) for _ in range(20)][-1]
    assert reviews(last) == reviews(first) == 2


async def test_a_replica_that_stands_by_is_scraped_too(secured, token_of, admin):
    """What it may not write is fenced; the reviews are no such writes."""
    lease = {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"name": "swarm-operator", "namespace": "swarm-operator-system"},
        "spec": {"holderIdentity": "another", "leaseDurationSeconds": 3600},
    }
    await admin.apply(LEASES, lease, field_manager="another")
    operator = await secured("--leader-elect", "--leader-election-namespace", "swarm-operator-system")
    status, text = await scrape(operator, await token_of("reader", reader=True))
    assert status == 200
    assert 'leader_election_master_status{name="swarm-operator"} 0.0' in text


async def test_plain_http_is_not_served(secured):
    operator = await secured()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://localhost:{operator.metrics_port}/metrics")


async def test_with_a_certificate_of_one_s_own_the_scraper_can_check_who_answers(
    secured, token_of, control_plane, tmp_path
):
    certs = control_plane.folder / "certs"  # the API server's own, self-signed for localhost among others
    (tmp_path / "tls.crt").write_bytes((certs / "apiserver.crt").read_bytes())
    (tmp_path / "tls.key").write_bytes((certs / "apiserver.key").read_bytes())
    operator = await secured("--metrics-cert-dir", str(tmp_path))
    context = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = False
    status, _ = await scrape(operator, await token_of("reader", reader=True), context=context)
    assert status == 200


async def test_a_folder_without_a_certificate_ends_it_with_what_is_wanted(start_operator, tmp_path):
    operator = start_operator("--metrics-secure", "--metrics-cert-dir", str(tmp_path))
    assert await asyncio.to_thread(operator.process.wait, 60) == 1
    assert "must have tls.crt and tls.key" in operator.log.read_text()
