"""The file by which service accounts' tokens are verified."""

import copy

import orjson
import pytest

from swarm_operator.shared.access import Access
from swarm_operator.shared.secret_list import SecretFormatError
from swarm_operator.shared.service_accounts import parse

KEY = {"kty": "EC", "kid": "k", "alg": "ES256", "crv": "P-256", "x": "", "y": ""}
GOOD = {
    "issuer": "https://issuer",
    "keys": [KEY, {"kty": "RSA", "kid": "r", "n": "", "e": ""}],
    "accounts": [
        {"namespace": "swarm", "name": "agent", "access": "write"},
        {"namespace": "swarm", "name": "x.y", "access": "read", "namespaces": ["a"]},
    ],
}


def test_what_a_file_says():
    found = parse(orjson.dumps(GOOD))
    assert (found.issuer, set(found.keys)) == ("https://issuer", {"k", "r"})
    assert found.accounts == {("swarm", "agent"): Access(True, None), ("swarm", "x.y"): Access(False, ("a",))}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((), [], "service-accounts.json: an object with issuer, keys and accounts"),
        (("other",), 1, "service-accounts.json: an object with issuer, keys and accounts"),
        (("issuer",), "", "issuer: a string of 1 to"),
        (("keys",), {}, "keys: a list of at most 100 objects"),
        (("keys",), [KEY] * 101, "keys: a list of at most 100 objects"),
        (("keys", 0), 1, "keys: a list of at most 100 objects"),
        (("keys", 0, "kid"), None, r"keys\[0\].kid: a string"),
        (("keys", 0, "kty"), "oct", r"keys\[0\].kty: RSA, EC, OKP are allowed"),
        (("keys", 0, "kty"), [], r"keys\[0\].kty: RSA, EC, OKP are allowed"),
        (("keys", 0, "alg"), "HS256", r"keys\[0\].alg: ES256, ES384, ES512 are allowed"),
        (("keys", 0, "alg"), "none", r"keys\[0\].alg: ES256, ES384, ES512 are allowed"),
        (("keys", 1, "alg"), "ES256", r"keys\[1\].alg: RS256"),
        (("keys", 0, "d"), "secret", r"keys\[0\]: a public key is allowed$"),
        (("accounts",), [GOOD["accounts"][0]] * 101, "accounts: a list of at most 100 objects"),
        (("accounts", 0, "namespace"), "A", r"accounts\[0\].namespace: a name of Kubernetes"),
        (("accounts", 0, "name"), "a/b", r"accounts\[0\].name: a name of Kubernetes"),
        (("accounts", 0, "access"), "admin", r"accounts\[0\].access: read or write"),
        (("accounts", 0, "pod"), "x", r"accounts\[0\]: an object with namespace, name, access"),
        (("accounts", 1, "namespaces"), [], r"accounts\[1\].namespaces: a list of 1 to 100"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_named_with_its_place(place, value, message):
    document = copy.deepcopy(GOOD)
    at = document
    for step in place[:-1]:
        at = at[step]
    if place:
        at[place[-1]] = value
    with pytest.raises(SecretFormatError, match=message):
        parse(orjson.dumps(document if place else value))


@pytest.mark.parametrize(("text", "message"), [(b"{", "JSON is allowed"), (b" " * 600_000, "at most 524288 bytes")])
def test_what_is_no_document_is_refused(text, message):
    with pytest.raises(SecretFormatError, match=message):
        parse(text)
