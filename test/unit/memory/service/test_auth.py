"""Bearer tokens."""

import stat

import pytest

from swarm_operator.memory.service import auth
from swarm_operator.memory.service.errors import BadTokenFileError


@pytest.fixture
def directory(tmp_path):
    auth.generate(tmp_path / "tokens")
    return tmp_path / "tokens"


class Monotonic:
    now = 0.0

    def __call__(self):
        return self.now


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
    monkeypatch.setattr(auth, "_CHECK_SECONDS", 0.0)
    (service.tokens / "client-token").write_text("rotated-0123456789")
    assert (await service.call("GET", "/v1/stats")).status == 401
    assert (await service.call("GET", "/v1/stats", token="rotated-0123456789")).status == 200


def test_files_are_looked_at_once_a_second(directory):
    clock = Monotonic()
    tokens = auth.Tokens(directory, monotonic=clock)
    former = bearer(directory / "client-token")
    (directory / "client-token").write_text("new-token-of-another-length")
    clock.now = 0.9
    assert tokens.role(former)
    clock.now = 1.0
    assert not tokens.role(former)
    assert tokens.role(b"Bearer new-token-of-another-length")


def test_a_secrets_files_are_swapped_by_a_link(tmp_path):
    for name in ("1", "2"):
        auth.generate(tmp_path / name)
    (tmp_path / "data").symlink_to("1")
    clock = Monotonic()
    tokens = auth.Tokens(tmp_path / "data", monotonic=clock)
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(tmp_path / "data")
    clock.now = 1.0
    assert tokens.role(bearer(tmp_path / "2" / "admin-token"))
    assert not tokens.role(bearer(tmp_path / "1" / "admin-token"))


def test_while_a_file_is_missing_or_empty_the_former_tokens_stay_valid(directory):
    clock = Monotonic()
    tokens = auth.Tokens(directory, monotonic=clock)
    former = bearer(directory / "client-token")
    (directory / "client-token").write_text("")
    clock.now += 1
    assert tokens.role(former)
    (directory / "client-token").unlink()
    clock.now += 1
    assert tokens.role(former)
    (directory / "client-token").write_text("after-the-gap")
    clock.now += 1
    assert tokens.role(b"Bearer after-the-gap")
    assert not tokens.role(former)


@pytest.mark.parametrize("content", [None, b"", b"  \n", b"two words", b"two\nlines", "ü".encode(), b"x" * 4097])
def test_a_bad_file_is_refused_at_the_start_without_its_content(directory, content):
    path = directory / "admin-token"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadTokenFileError, match="admin-token") as caught:
        auth.Tokens(directory)
    assert "two" not in str(caught.value)


def test_generated_tokens_are_private_random_and_kept(tmp_path):
    assert auth.generate(tmp_path / "tokens")
    contents = {file.name: file.read_text() for file in (tmp_path / "tokens").iterdir()}
    assert len(set(contents.values())) == 2
    assert min(len(token.strip()) for token in contents.values()) >= 43
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "tokens").iterdir()} == {0o600}
    assert not auth.generate(tmp_path / "tokens")
    assert {file.name: file.read_text() for file in (tmp_path / "tokens").iterdir()} == contents
