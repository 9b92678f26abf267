import base64

import pytest

from swarm_operator.controllers.swarmmemorystore.auth import new_secret, secret_name, token_of


def test_a_secret_holds_two_tokens_of_256_bits(store):
    secret = new_secret(store())
    assert secret["metadata"]["name"] == secret_name(store()) == "bees-auth"
    tokens = {name: base64.b64decode(value) for name, value in secret["data"].items()}
    assert tokens.keys() == {"client-token", "admin-token"}
    assert all(len(base64.urlsafe_b64decode(token + b"=")) == 32 for token in tokens.values())
    assert tokens["client-token"] != tokens["admin-token"]


def test_no_two_secrets_are_the_same(store):
    assert new_secret(store())["data"] != new_secret(store())["data"]


def test_the_client_token_is_read_from_a_secret(store):
    secret = new_secret(store())
    assert token_of(secret) == base64.b64decode(secret["data"]["client-token"]).decode()


@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"data": None},
        {"data": {}},
        {"data": {"admin-token": "YQ=="}},
        {"data": {"client-token": None}},
        {"data": {"client-token": "not base64!"}},
        {"data": {"client-token": ""}},
        {"data": {"client-token": base64.b64encode("ä".encode()).decode()}},
    ],
)
def test_a_secret_that_was_spoilt_has_no_token(secret):
    assert token_of(secret) is None
