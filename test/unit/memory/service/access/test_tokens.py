"""Bearer tokens."""

import contextlib
import hmac
import json
import re
import stat

import pytest
from structlog.testing import capture_logs

from swarm_operator.memory.service.access.rights import ADMIN, CLIENT, Principal
from swarm_operator.memory.service.access.tokens import Tokens, generate
from swarm_operator.memory.service.errors import BadTokenFileError, UnauthorizedError
from swarm_operator.shared.secret_list import SecretFormatError
from swarm_operator.shared.tokens import check


@pytest.fixture
def directory(tmp_path):
    generate(tmp_path / "tokens")
    return tmp_path / "tokens"


class Monotonic:
    now = 0.0

    def __call__(self):
        return self.now


def principal(tokens, authorization):
    """The holder of the token in a header; None if it is not valid."""
    with contextlib.suppress(UnauthorizedError):
        return tokens.authenticate(authorization).principal
    return None


def bearer(path):
    return b"Bearer " + path.read_bytes().strip()


async def test_without_a_valid_token_everything_but_health_is_a_401(service):
    await service.put("n/k", 1)
    for path in ("/v1/entries/n/k", "/v1/entries?namespace=n", "/v1/stats", "/v1/namespaces", "/nothing", "/healthz/"):
        for token in (None, "", "wrong", "client-0123456789abcde", "client-0123456789abcdef0", "\u00e9"):
            answer = await service.call("GET", path, token=token)
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json["detail"] == "a valid bearer token is required"


async def test_a_refused_write_writes_nothing(service):
    assert (await service.call("PUT", "/v1/entries/n/k", {"value": 1}, token="wrong")).status == 401
    assert (await service.call("GET", "/v1/entries/n/k")).status == 404


async def test_both_tokens_are_accepted_and_the_scheme_is_case_insensitive(service):
    for header in ("Bearer client-0123456789abcdef", "bearer  admin-0123456789abcdef "):
        assert (await service.call("GET", "/v1/stats", token=None, Authorization=header)).status == 200
    assert (await service.call("GET", "/v1/stats", token=None, Authorization="Basic Y2xpZW50")).status == 401


async def test_a_rotated_token_is_taken_and_the_former_one_is_not(service, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0.0)
    (service.tokens / "client-token").write_text("rotated-0123456789")
    assert (await service.call("GET", "/v1/stats")).status == 401
    assert (await service.call("GET", "/v1/stats", token="rotated-0123456789")).status == 200


def test_the_tokens_before_work_as_long_as_their_files_are_there(directory):
    clock = Monotonic()
    tokens = Tokens(directory, monotonic=clock)
    before = {name: bearer(directory / f"{name}-token") for name in ("client", "admin")}
    for name, header in before.items():
        (directory / f"former-{name}-token").write_bytes(header.removeprefix(b"Bearer "))
        (directory / f"{name}-token").write_text(f"new-{name}-0123456789abcdef")
    clock.now += 1
    for name, holder in (("client", CLIENT), ("admin", ADMIN)):
        credential = tokens.authenticate(before[name])
        assert (credential.principal, principal(tokens, bearer(directory / f"{name}-token"))) == (holder, holder)
        assert credential.still_valid()
        (directory / f"former-{name}-token").unlink()
        clock.now += 1
        assert principal(tokens, before[name]) is None
        assert not credential.still_valid()


def test_a_token_before_that_is_none_changes_nothing(directory):
    clock = Monotonic()
    tokens = Tokens(directory, monotonic=clock)
    client = bearer(directory / "client-token")
    (directory / "client-token").write_text("new-client-0123456789abcdef")
    for content in ("", "two words", "new-client-0123456789abcdef"):
        (directory / "former-client-token").write_text(content)
        clock.now += 1
        assert principal(tokens, client) is CLIENT
    with pytest.raises(BadTokenFileError, match="former-client-token: two tokens are the same"):
        Tokens(directory)


def test_files_are_looked_at_once_a_second(directory):
    clock = Monotonic()
    tokens = Tokens(directory, monotonic=clock)
    former = bearer(directory / "client-token")
    (directory / "client-token").write_text("new-token-of-another-length")
    clock.now = 0.9
    assert principal(tokens, former)
    clock.now = 1.0
    assert not principal(tokens, former)
    assert principal(tokens, b"Bearer new-token-of-another-length")


def test_whose_token_was_replaced_is_logged(directory):
    clock = Monotonic()
    tokens = Tokens(directory, monotonic=clock)
    further = {"name": "team", "token": "team-0123456789abcdef", "access": "read"}
    (directory / "client-token").write_text("new-client-0123456789abcdef")
    (directory / "tokens.json").write_text(json.dumps({"tokens": [further]}))
    clock.now += 1
    with capture_logs() as lines:
        tokens.current()
    (line,) = [each for each in lines if each["event"] == "tokens read again"]
    assert (line["added"], line["removed"]) == (["client", "team"], ["client"])
    assert "0123456789" not in str(lines)


def test_a_secrets_files_are_swapped_by_a_link(tmp_path):
    for name in ("1", "2"):
        generate(tmp_path / name)
    (tmp_path / "data").symlink_to("1")
    clock = Monotonic()
    tokens = Tokens(tmp_path / "data", monotonic=clock)
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(tmp_path / "data")
    clock.now = 1.0
    assert principal(tokens, bearer(tmp_path / "2" / "admin-token"))
    assert not principal(tokens, bearer(tmp_path / "1" / "admin-token"))


def test_while_a_file_is_missing_or_empty_the_former_tokens_stay_valid(directory):
    clock = Monotonic()
    tokens = Tokens(directory, monotonic=clock)
    former = bearer(directory / "client-token")
    (directory / "client-token").write_text("")
    clock.now += 1
    assert principal(tokens, former)
    (directory / "client-token").unlink()
    clock.now += 1
    assert principal(tokens, former)
    (directory / "client-token").write_text("after-the-gap")
    clock.now += 1
    assert principal(tokens, b"Bearer after-the-gap")
    assert not principal(tokens, former)


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"two words", b"two\nlines", "ü".encode(), b"x" * 4097])
def test_a_bad_file_is_refused_at_the_start_without_its_content(directory, content):
    path = directory / "admin-token"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadTokenFileError, match="admin-token") as caught:
        Tokens(directory)
    assert "two" not in str(caught.value)


def test_generated_tokens_are_private_random_and_kept(tmp_path):
    assert generate(tmp_path / "tokens")
    contents = {file.name: file.read_text() for file in (tmp_path / "tokens").iterdir()}
    assert len(set(contents.values())) == 2
    assert min(len(token.strip()) for token in contents.values()) >= 43
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "tokens").iterdir()} == {0o600}
    assert not generate(tmp_path / "tokens")
    assert {file.name: file.read_text() for file in (tmp_path / "tokens").iterdir()} == contents


ONE = {"name": "a", "token": "0123456789abcdef", "access": "read"}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("{", "JSON"),
        ("[]", '"tokens"'),
        ('{"tokens": {}}', '"tokens"'),
        ('{"tokens": [], "more": 1}', '"tokens"'),
        ([[]], r"tokens\[0\]"),
        ([ONE, {**ONE, "name": "b", "token": "0123456789abcdeg", "roles": []}], r"tokens\[1\]"),
        ([{**ONE, "name": "client"}], r"tokens\[0\].name"),
        ([{**ONE, "name": "A"}], r"tokens\[0\].name"),
        ([{**ONE, "name": 7}], r"tokens\[0\].name"),
        ([ONE, {**ONE, "token": "0123456789abcdeg"}], r"tokens\[1\].name"),
        ([ONE, {**ONE, "name": "b"}], "two tokens are the same"),
        ([{**ONE, "token": "SECRET"}], r"tokens\[0\].token"),
        ([{**ONE, "token": "SECRET 0123456789 with blanks"}], r"tokens\[0\].token"),
        ([{**ONE, "token": None}], r"tokens\[0\].token"),
        ([{**ONE, "access": "admin"}], r"tokens\[0\].access"),
        ([{**ONE, "access": ["read"]}], r"tokens\[0\].access"),
        ([{**ONE, "namespaces": []}], r"tokens\[0\].namespaces"),
        ([{**ONE, "namespaces": "team"}], r"tokens\[0\].namespaces"),
        ([{**ONE, "namespaces": ["ok", ""]}], r"tokens\[0\].namespaces\[1\]"),
        ([{**ONE, "namespaces": [7]}], r"tokens\[0\].namespaces\[0\]"),
        ([{**ONE, "name": f"t{number}", "token": f"{number:016}"} for number in range(101)], "at most 100"),
        (" " * 300_000, "bytes"),
    ],
)
def test_a_bad_file_of_further_tokens_at_the_start_costs_these_tokens_only(directory, content, place):
    text = content if isinstance(content, str) else json.dumps({"tokens": content})
    (directory / "tokens.json").write_text(text)
    reloads = []
    with capture_logs() as logged:
        tokens = Tokens(directory, reloaded=reloads.append)
    assert reloads == [False]
    assert principal(tokens, bearer(directory / "client-token")) == CLIENT
    assert principal(tokens, bearer(directory / "admin-token")) == ADMIN
    assert principal(tokens, b"Bearer 0123456789abcdef") is None, "no token of a bad file is valid"
    (entry,) = logged
    assert entry["log_level"] == "error"
    assert re.search(rf"tokens\.json: .*{place}", entry["reason"])
    assert "SECRET" not in str(entry)
    assert "0123456789" not in str(entry)
    with pytest.raises(SecretFormatError, match=place):  # the operator says the same of the Secret
        check({file.name: file.read_bytes() for file in directory.iterdir()})


def test_further_tokens_have_names_and_rights(directory):
    further = [ONE, {**ONE, "name": "b-2", "token": "0123456789abcdeg", "access": "write", "namespaces": ["t", "u/v"]}]
    (directory / "tokens.json").write_text(json.dumps({"tokens": further}))
    tokens = Tokens(directory)
    assert principal(tokens, b"Bearer 0123456789abcdef") == Principal("a", writes=False)
    assert principal(tokens, b"Bearer 0123456789abcdeg") == Principal("b-2", namespaces=("t", "u/v"))
    assert principal(tokens, bearer(directory / "admin-token")) == ADMIN
    assert principal(tokens, bearer(directory / "client-token")) == CLIENT
    assert principal(tokens, b"Bearer 0123456789abcdeh") is None


def test_an_offered_token_is_compared_with_every_token_in_constant_time(directory, monkeypatch):
    """Else the time of a refusal would say how much of a token is right, or which one it is."""
    further = [{**ONE, "name": f"t{number}", "token": f"{number:016}"} for number in range(3)]
    (directory / "tokens.json").write_text(json.dumps({"tokens": further}))
    tokens = Tokens(directory)
    known = [
        *((directory / name).read_bytes().strip() for name in ("client-token", "admin-token")),
        *(each["token"].encode() for each in further),
    ]
    compared, compare = [], hmac.compare_digest

    def comparing(offered, token):
        compared.append((offered, token))
        return compare(offered, token)

    monkeypatch.setattr(hmac, "compare_digest", comparing)
    for offered in (*known, b"unknown-012345678"):
        compared.clear()
        assert (principal(tokens, b"Bearer " + offered) is not None) == (offered in known)
        assert compared == [(offered, token) for token in known]
    monkeypatch.setattr(hmac, "compare_digest", lambda *_: False)
    assert principal(tokens, b"Bearer " + known[0]) is None


def test_while_the_file_of_further_tokens_is_bad_the_former_ones_stay_valid(directory):
    path, clock, reloads = directory / "tokens.json", Monotonic(), []
    path.write_text(json.dumps({"tokens": [ONE]}))
    tokens = Tokens(directory, monotonic=clock, reloaded=reloads.append)
    path.write_text('{"tokens": [')
    clock.now += 1
    assert principal(tokens, b"Bearer 0123456789abcdef")
    path.unlink()
    clock.now += 1
    assert principal(tokens, b"Bearer 0123456789abcdef") is None
    assert reloads == [True, False, True]


def test_a_bad_file_of_further_tokens_does_not_keep_a_token_from_being_rotated(directory):
    clock, reloads = Monotonic(), []
    (directory / "tokens.json").write_text(json.dumps({"tokens": [ONE]}))
    tokens = Tokens(directory, monotonic=clock, reloaded=reloads.append)
    leaked = bearer(directory / "client-token")
    (directory / "tokens.json").write_text("{")
    (directory / "client-token").write_text("rotated")
    clock.now += 1
    assert principal(tokens, b"Bearer rotated") == CLIENT
    assert principal(tokens, leaked) is None
    assert principal(tokens, b"Bearer 0123456789abcdef")
    assert reloads == [True, False]


def test_a_bad_client_token_does_not_keep_further_tokens_from_being_removed(directory):
    clock, reloads = Monotonic(), []
    (directory / "tokens.json").write_text(json.dumps({"tokens": [ONE]}))
    tokens = Tokens(directory, monotonic=clock, reloaded=reloads.append)
    client = bearer(directory / "client-token")
    (directory / "client-token").write_text("")
    (directory / "tokens.json").unlink()
    clock.now += 1
    assert principal(tokens, client) == CLIENT
    assert principal(tokens, b"Bearer 0123456789abcdef") is None
    assert reloads == [True, False]


def test_a_former_token_that_is_the_clients_now_gives_the_clients_rights(directory):
    clock = Monotonic()
    (directory / "tokens.json").write_text(json.dumps({"tokens": [ONE]}))
    tokens = Tokens(directory, monotonic=clock)
    (directory / "tokens.json").write_text("{")
    (directory / "client-token").write_text(ONE["token"])
    clock.now += 1
    assert principal(tokens, b"Bearer 0123456789abcdef") == CLIENT


def test_both_files_of_one_token_each_must_differ(directory):
    (directory / "admin-token").write_bytes((directory / "client-token").read_bytes())
    with pytest.raises(BadTokenFileError, match="admin-token: two tokens are the same"):
        Tokens(directory)


def test_a_credential_is_valid_as_long_as_the_token_gives_what_the_request_was_let_in_with(directory):
    clock = Monotonic()
    further = {"name": "team", "token": "team-0123456789abc", "access": "write"}
    (directory / "tokens.json").write_text(json.dumps({"tokens": [further]}))
    tokens = Tokens(directory, monotonic=clock)
    authorization = b"Bearer team-0123456789abc"
    let_in = tokens.authenticate(authorization)
    (directory / "tokens.json").write_text(json.dumps({"tokens": [{**further, "access": "read"}]}))
    clock.now = 2.0
    # The file has changed between the two: what counts is what the request was let in with.
    assert not let_in.still_valid()
    assert tokens.authenticate(authorization).still_valid()
    (directory / "tokens.json").unlink()
    clock.now = 4.0
    assert not let_in.still_valid()
    with pytest.raises(UnauthorizedError):
        tokens.authenticate(authorization)
