"""The operator's CA: made once, renewed in two steps, and never replaced before clients know its successor."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509 as certificates

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmmemorystore.tls import x509
from swarm_operator.controllers.swarmmemorystore.tls.authority import OVERLAP, SECRET_NAME, Authority, renewed
from swarm_operator.runtime.errors import ConflictError
from swarm_operator.runtime.resource import Key

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECRET = (kinds.SECRET, Key("system", SECRET_NAME))
DAY = timedelta(days=1)


def bundle(files):
    return [each.serial_number for each in certificates.load_pem_x509_certificates(files["ca.crt"])]


def serial(pem):
    return certificates.load_pem_x509_certificate(pem).serial_number


def test_a_ca_stays_until_a_third_of_its_life_is_left():
    first = renewed({}, NOW)
    for days in (0, 1, 365, 729):
        assert renewed(first, NOW + days * DAY) == first


def test_what_signs_was_published_a_day_before_and_what_signed_stays_published():
    """Day by day over ten years."""
    files, published, signed = {}, {}, {}
    for day in range(3650):
        now = NOW + day * DAY
        files = renewed(files, now)
        assert renewed(files, now) == files
        for number in bundle(files):
            published.setdefault(number, now)
        signing = serial(files["tls.crt"])
        signed.setdefault(signing, now)
        if len(signed) > 1:
            assert signed[signing] - published[signing] >= OVERLAP - timedelta(hours=1)
        ends = certificates.load_pem_x509_certificate(files["tls.crt"]).not_valid_after_utc
        assert ends - now > x509.SERVER_LIFE, "what it signs ends before it does"
        # What was signed yesterday by another is still trusted.
        assert all(number in bundle(files) for number, since in signed.items() if now - since < x509.SERVER_LIFE)
    assert len(signed) == 5
    assert len(bundle(files)) <= 3


@pytest.mark.parametrize("broken", ["tls.crt", "tls.key"])
@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_a_ca_that_cannot_be_read_is_made_anew(broken, content):
    files = renewed({}, NOW)
    former = bundle(files)
    if content is None:
        del files[broken]
    else:
        files[broken] = content
    again = renewed(files, NOW)
    assert serial(again["tls.crt"]) not in former
    assert bundle(again)[0] in former, "certificates of the former are still verified"


def test_a_key_of_another_ca_is_no_ca():
    files = renewed({}, NOW) | {"tls.key": renewed({}, NOW)["tls.key"]}
    assert renewed(files, NOW)["tls.crt"] != files["tls.crt"]


def test_an_expired_ca_is_made_anew_and_not_published():
    files = renewed({}, NOW)
    later = NOW + x509.CA_LIFE
    again = renewed(files, later)
    assert bundle(again) == [serial(again["tls.crt"])]
    assert serial(again["tls.crt"]) not in bundle(files)


async def test_all_workers_get_the_same_ca_and_a_restart_too(client):
    authority = Authority("system")
    found = await asyncio.gather(*(authority.current(client, NOW, 0.0) for _ in range(4)))
    assert len({each.trusted for each in found}) == 1
    assert [request[0] for request in client.requests] == ["get", "create"]
    assert await Authority("system").current(client, NOW, 0.0) == found[0]
    again = await authority.current(client, NOW, 59.0)
    assert (again, len(client.requests)) == (found[0], 3)


async def test_of_two_operators_the_second_takes_what_the_first_has_made(client, monkeypatch):
    others = {name: base64.b64encode(content).decode() for name, content in renewed({}, NOW).items()}
    create = client.create

    async def slower(resource, obj, *, field_manager):
        if SECRET not in client.objects:
            client.put(*[kinds.SECRET, {"metadata": dict(obj["metadata"], uid="u"), "data": others}])
        return await create(resource, obj, field_manager=field_manager)

    monkeypatch.setattr(client, "create", slower)
    found = await Authority("system").current(client, NOW, 0.0)
    assert base64.b64encode(found.trusted).decode() == others["ca.crt"]


async def test_a_renewal_writes_to_the_version_that_was_read(client):
    authority = Authority("system")
    first = await authority.current(client, NOW, 0.0)
    later = NOW + 800 * DAY
    second = await authority.current(client, later, 100.0)
    assert first.trusted in second.trusted
    assert second.signing == first.signing
    third = await authority.current(client, later + 2 * DAY, 200.0)
    assert third.signing != first.signing
    assert third.trusted == second.trusted
    assert set(client.objects[SECRET]["data"]) == {"tls.crt", "tls.key", "ca.crt"}
    client.refusals["merge", "Secret"] = ConflictError("another version", status=409)
    with pytest.raises(ConflictError, match="keeps changing"):
        await authority.current(client, later + 800 * DAY, 300.0)
