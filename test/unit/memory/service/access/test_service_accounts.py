"""Tokens of Kubernetes service accounts."""

import base64
import contextlib
import hashlib
import hmac
import json
import time

import jwt
import pytest
from structlog.testing import capture_logs
from support.service_accounts import Issuer

from swarm_operator.memory.service.access import service_accounts
from swarm_operator.memory.service.access.rights import Principal
from swarm_operator.memory.service.access.service_accounts import SKEW_SECONDS, ServiceAccounts
from swarm_operator.memory.service.access.tokens import Tokens, generate
from swarm_operator.memory.service.errors import UnauthorizedError

AGENT = Principal("swarm:agent:agent-0")
LATE = SKEW_SECONDS + 5


@pytest.fixture(scope="module")
def issuer():
    return Issuer()


class Clock:
    """Seconds that only move when they are told to, from now on: PyJWT has the system's time."""

    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path, issuer):
    issuer.write(tmp_path / "service-accounts.json")
    return tmp_path / "service-accounts.json"


@pytest.fixture
def tokens(tmp_path, file, clock):
    generate(tmp_path / "tokens")
    return Tokens(tmp_path / "tokens", service_accounts=ServiceAccounts(file), monotonic=clock, clock=clock)


def holder(tokens, token):
    """The principal of a token; None if it is not valid."""
    with contextlib.suppress(UnauthorizedError):
        return tokens.authenticate(b"Bearer " + (token if isinstance(token, bytes) else token.encode())).principal
    return None


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_pod_is_its_service_account_and_its_name(tokens, file, clock, algorithm):
    issuer = Issuer(algorithm=algorithm)
    issuer.write(file)
    clock.now += 1
    assert holder(tokens, issuer.token()) == AGENT
    assert holder(tokens, issuer.token(pod=None)) == Principal("swarm:agent")
    assert holder(tokens, issuer.token(aud="swarm-memory")) == AGENT


def test_the_file_says_what_a_service_account_may_do(tokens, file, issuer, clock):
    issuer.write(file, ("swarm", "agent", "read", ["a", "b"]), ("tools", "agent", "write"))
    clock.now += 1
    assert holder(tokens, issuer.token()) == Principal(AGENT.name, writes=False, namespaces=("a", "b"))
    assert holder(tokens, issuer.token(namespace="tools")) == Principal("tools:agent:agent-0")
    assert holder(tokens, issuer.token(account="other")) is None
    assert holder(tokens, issuer.token(namespace="others")) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["https://kubernetes.default.svc.cluster.local"]},
        {"aud": None},
        {"aud": []},
        {"iss": "https://another"},
        {"iss": None},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"lifetime": -LATE},
        {"nbf": int(time.time()) + 7200},
        {"issued": int(time.time()) + 7200},
        {"lifetime": 25 * 3600},
        {"kubernetes.io": None},
        {"kubernetes.io": "swarm"},
        {"kubernetes.io": {"namespace": "swarm"}},
        {"kubernetes.io": {"namespace": "swarm", "serviceaccount": {"name": "agent"}, "pod": {"name": 1}}},
        {"sub": "system:serviceaccount:swarm:other"},
        {"sub": "system:serviceaccount:other:agent"},
    ],
    ids=lambda claims: next(iter(claims)),  # the times in them differ between the processes of a run
)
def test_a_token_with_other_claims_is_refused(tokens, issuer, claims):
    assert holder(tokens, issuer.token()) == AGENT
    assert holder(tokens, issuer.token(**claims)) is None


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def test_a_token_does_not_choose_its_algorithm(tokens, file, clock):
    """Of a public key's own text as the secret of an HMAC, no signature at all, and another key's algorithm."""
    issuer = Issuer(algorithm="RS256")
    issuer.write(file)
    clock.now += 1
    assert holder(tokens, issuer.token()) == AGENT
    public = issuer.private.public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    claims = issuer.claims()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(issuer.key).encode(), issuer.key["n"].encode(), b"",
    ]  # fmt: skip
    for secret in secrets:
        for name in ("HS256", "RS256"):
            body = encoded({"alg": name, "typ": "JWT", "kid": issuer.kid}) + b"." + encoded(claims)
            signature = base64.urlsafe_b64encode(hmac.digest(secret, body, hashlib.sha256)).rstrip(b"=")
            assert holder(tokens, body + b"." + signature) is None
    for name in ("none", "None", "NONE", ""):
        assert holder(tokens, encoded({"alg": name, "kid": issuer.kid}) + b"." + encoded(claims) + b".") is None
    for name in ("RS512", "PS256"):
        assert holder(tokens, jwt.encode(claims, issuer.private, name, headers={"kid": issuer.kid})) is None
    own = Issuer()
    embedded = jwt.encode(claims, own.private, "ES256", headers={"kid": issuer.kid, "jwk": own.key, "jku": "http://x"})
    assert holder(tokens, embedded) is None


def test_a_token_of_an_unknown_key_is_refused(tokens, issuer):
    assert holder(tokens, Issuer().token()) is None
    assert holder(tokens, Issuer(kid="key-2").token()) is None
    assert holder(tokens, jwt.encode(issuer.claims(), issuer.private, "ES256")) is None
    assert holder(tokens, jwt.encode(issuer.claims(), issuer.private, "ES256", headers={"kid": ""})) is None


@pytest.mark.parametrize("token", [b"a.b.c", b"..", b".", b"a" * 9000 + b".b.c", b"\xff.\xff.\xff", b"e30.e30.e30"])
def test_what_is_no_token_is_refused(tokens, token):
    assert holder(tokens, token) is None


def test_a_changed_token_is_refused(tokens, issuer):
    head, body, signature = issuer.token().split(".")
    other = encoded(issuer.claims(pod="agent-1")).decode()
    assert holder(tokens, f"{head}.{other}.{signature}") is None
    assert holder(tokens, f"{head}.{body}.{signature[:-4]}AAAA") is None


def test_clocks_may_differ_by_the_skew(tokens, issuer, clock):
    now = int(clock.now)
    assert holder(tokens, issuer.token(issued=now + SKEW_SECONDS - 10)) == AGENT
    expired = issuer.token(issued=now - 600, lifetime=600 - SKEW_SECONDS + 20)
    assert holder(tokens, expired) == AGENT
    assert holder(tokens, issuer.token(issued=now - 600, lifetime=600 - LATE)) is None
    clock.now += 21
    assert holder(tokens, expired) is None


def test_a_token_of_a_deleted_pod_works_until_it_expires(tokens, issuer, clock):
    token = issuer.token(issued=int(clock.now), lifetime=600)
    credential = tokens.authenticate(b"Bearer " + token.encode())
    clock.now += 600 + SKEW_SECONDS - 2
    assert credential.still_valid()
    assert holder(tokens, token) == AGENT
    clock.now += 3
    assert not credential.still_valid()
    assert holder(tokens, token) is None
    assert credential.expires_at <= tokens.now


def test_a_rotated_key_is_taken_within_a_second_of_the_file_s_change(tokens, file, clock):
    former, new = Issuer(kid="former"), Issuer(kid="new")
    former.write(file)
    clock.now += 1
    current = tokens.current()
    credential = tokens.authenticate(b"Bearer " + former.token().encode())
    assert holder(tokens, new.token()) is None
    former.write(file, keys=[former.key, new.key])
    clock.now += 1
    assert tokens.current() is not current, "what the direct path knows is asked again"
    assert holder(tokens, new.token()) == holder(tokens, former.token()) == AGENT
    assert credential.still_valid()
    new.write(file)
    clock.now += 1
    assert not credential.still_valid()
    assert holder(tokens, former.token()) is None
    assert holder(tokens, new.token()) == AGENT


def test_another_right_ends_what_the_token_had_begun(tokens, file, issuer, clock):
    token = issuer.token()
    credential = tokens.authenticate(b"Bearer " + token.encode())
    issuer.write(file, ("swarm", "agent", "read"))
    clock.now += 1
    assert not credential.still_valid()
    assert holder(tokens, token) == Principal(AGENT.name, writes=False)


def test_a_bad_file_keeps_the_former_keys(tmp_path, file, issuer, clock):
    generate(tmp_path / "tokens")
    valid = []
    tokens = Tokens(
        tmp_path / "tokens", service_accounts=ServiceAccounts(file), monotonic=clock, clock=clock,
        reloaded=valid.append,
    )  # fmt: skip
    file.write_text('{"keys": []}')
    clock.now += 1
    with capture_logs() as logs:
        assert holder(tokens, issuer.token()) == AGENT
    (entry,) = [each for each in logs if each["log_level"] == "error"]
    assert "service-accounts.json: an object with issuer" in entry["reason"]
    file.unlink()
    clock.now += 1
    assert holder(tokens, issuer.token()) is None, "without the file nobody is known"
    issuer.write(file)
    clock.now += 1
    assert holder(tokens, issuer.token()) == AGENT
    assert valid == [True, False, True, True]


def test_a_key_that_is_none_does_not_concern_the_others(tokens, file, issuer, clock):
    issuer.write(file, keys=[{"kty": "EC", "kid": "bad", "crv": "P-256", "x": "?", "y": "?"}, issuer.key])
    clock.now += 1
    bad = jwt.encode(issuer.claims(), issuer.private, "ES256", headers={"kid": "bad"})
    with capture_logs() as logs:
        assert holder(tokens, bad) is holder(tokens, bad) is None
    assert [each["kid"] for each in logs if each["log_level"] == "error"] == ["bad"]
    assert holder(tokens, issuer.token()) == AGENT


def test_a_signature_is_verified_once(tokens, issuer, monkeypatch):
    token, verified = issuer.token(), []
    decode = jwt.decode
    monkeypatch.setattr(jwt, "decode", lambda *given, **named: verified.append(given[0]) or decode(*given, **named))
    assert [holder(tokens, token) for _ in range(3)] == [AGENT] * 3
    assert verified == [token.encode()]


def test_as_many_tokens_are_kept_as_may_be(file, issuer, clock, monkeypatch):
    monkeypatch.setattr(service_accounts, "_MAX_KEPT", 3)
    accounts = ServiceAccounts(file)
    accounts.load()
    now = int(clock.now)
    kept = [issuer.token(issued=now, pod=f"p-{number}").encode() for number in range(5)]
    for token in kept:
        assert accounts.verify(token, clock.now)
    assert list(accounts._verified) == kept[2:]
    short = issuer.token(issued=now, lifetime=10, pod="short").encode()
    assert accounts.verify(short, clock.now)
    assert accounts.verify(kept[0], now + 10 + SKEW_SECONDS + 1)
    assert list(accounts._verified) == [*kept[3:], kept[0]], "the one that had expired made room"


def test_service_accounts_are_unknown_without_a_file(tmp_path, issuer):
    generate(tmp_path / "tokens")
    assert holder(Tokens(tmp_path / "tokens"), issuer.token()) is None
    missing = ServiceAccounts(tmp_path / "none")
    assert holder(Tokens(tmp_path / "tokens", service_accounts=missing), issuer.token()) is None
