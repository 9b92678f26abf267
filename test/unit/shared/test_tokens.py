"""The check of a Secret's tokens. That the service agrees is shown where it reads them: memory/service/access."""

import json
import re

import pytest

from swarm_operator.memory.core.entry import check_namespace
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.access.rights import ADMIN, CLIENT
from swarm_operator.shared import tokens
from swarm_operator.shared.secret_list import SecretFormatError

MAIN = {"client-token": b"client", "admin-token": b"admin\n"}
ONE = {"name": "a", "token": "0123456789abcdef", "access": "read"}


def further(*items):
    return MAIN | {"tokens.json": json.dumps({"tokens": items}).encode()}


@pytest.mark.parametrize("files", [MAIN, MAIN | {"peers.json": b"{"}, further(), further(ONE)])
def test_what_the_service_can_use_passes(files):
    tokens.check(files)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "client-token: it is missing"),
        (MAIN | {"client-token": b" \n"}, "client-token: it is empty"),
        (MAIN | {"admin-token": b"two words"}, "admin-token: one line of at most 4096 printable ASCII characters"),
        (MAIN | {"admin-token": b"client\n"}, "admin-token: two tokens are the same"),
        (MAIN | {"tokens.json": b""}, "tokens.json: JSON is allowed"),
        (further(ONE | {"access": "admin"}), r"tokens.json: tokens\[0\].access: read or write"),
        (further(ONE, ONE | {"name": "b"}), r"tokens.json: tokens\[1\].token: two tokens are the same"),
        (further(*[ONE] * 101), "tokens.json: tokens: at most 100"),
    ],
)
def test_a_mistake_has_its_file_and_its_place(files, said):
    with pytest.raises(SecretFormatError, match=f"^{said}"):
        tokens.check(files)


def test_a_further_token_cannot_be_the_client_s():
    files = further(ONE) | {"client-token": ONE["token"].encode()}
    with pytest.raises(SecretFormatError, match=r"tokens\[0\].token: two tokens are the same"):
        tokens.check(files)


def test_the_names_that_are_taken_are_those_of_the_service():
    assert {CLIENT.name, ADMIN.name} == set(tokens._RESERVED_NAMES)


NAMESPACES = ["", "a", "a" * 255, "a" * 256, "\u00fc" * 127, "\u00fc" * 128, "a\0b", 7, None, ["a"], True]


def takes(namespace):
    try:
        tokens.check(further(ONE | {"namespaces": [namespace]}))
    except SecretFormatError:
        return False
    return True


def store_takes(namespace):
    try:
        check_namespace(namespace)
    except InvalidInputError:
        return False
    return True


def test_a_namespace_is_what_the_store_takes():
    found = [takes(namespace) for namespace in NAMESPACES]
    assert found == [store_takes(namespace) for namespace in NAMESPACES]
    assert set(found) == {True, False}


def test_what_a_namespace_may_be_is_said_as_the_store_says_it():
    with pytest.raises(InvalidInputError) as of_store:
        check_namespace("")
    with pytest.raises(SecretFormatError, match=re.escape(f"namespaces[0]: allowed is {of_store.value.allowed}")):
        tokens.check(further(ONE | {"namespaces": [""]}))


def test_a_token_is_not_shown_where_it_is_logged():
    (token,) = tokens.parse_further(further(ONE)["tokens.json"], taken=())
    assert ONE["token"] not in repr(token)
