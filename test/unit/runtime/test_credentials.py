import asyncio
import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from swarm_operator.runtime import credentials
from swarm_operator.runtime.credentials import Credential, TokenSource, credential_of, of_plugin, of_token_file
from swarm_operator.runtime.kubernetes_asyncio import ConfigException, Configuration, ExecProvider

V1 = "client.authentication.k8s.io/v1"


@pytest.fixture
def configuration():
    return Configuration()


@pytest.fixture
def used(configuration):
    """The Authorization header of the next request."""

    async def use(found):
        await found(configuration)
        return configuration.api_key.get("BearerToken")

    return use


class Loads:
    """Loads the given credentials one after the other, and then waits."""

    def __init__(self, *found):
        self.found = list(found)
        self.begun = 0
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def __call__(self):
        self.begun += 1
        await self.goes_on.wait()
        found = self.found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


async def test_a_credential_is_used_until_it_expires(used, clock):
    soon = clock.now() + timedelta(seconds=10)
    load = Loads(Credential("Bearer 2"))
    found = TokenSource(load, Credential("Bearer 1", expires_at=soon), clock=clock)
    assert await used(found) == "Bearer 1"
    clock.advance(9.9)
    assert await used(found) == "Bearer 1"
    clock.advance(0.1)
    assert await used(found) == "Bearer 2"
    clock.advance(1e9)
    assert await used(found) == "Bearer 2", "it does not expire"
    assert load.begun == 1


async def test_a_credential_that_is_refused_is_loaded_again(used, clock):
    found = TokenSource(Loads(Credential("Bearer 2")), Credential("Bearer 1"), clock=clock)
    found.refuse("Bearer 1")
    assert await used(found) == "Bearer 2"
    found.refuse("Bearer 1")
    assert await used(found) == "Bearer 2", "a late refusal of the old one is none of the new one"


async def test_requests_at_one_time_cause_one_load(used, clock):
    load = Loads(Credential("Bearer 1"))
    found = TokenSource(load, clock=clock)
    assert await asyncio.gather(*(used(found) for _ in range(20))) == ["Bearer 1"] * 20
    assert load.begun == 1


async def test_a_request_that_gives_up_cancels_the_load_for_no_other(used, clock, background, settled):
    load = Loads(Credential("Bearer 1"))
    load.goes_on.clear()
    found = TokenSource(load, clock=clock)
    first, second = background(used(found)), background(used(found))
    await settled()
    first.cancel()
    await settled()
    load.goes_on.set()
    assert await second == "Bearer 1"
    assert load.begun == 1


async def test_a_load_that_fails_is_tried_again_by_the_next_request(used, clock):
    found = TokenSource(Loads(ConfigException("no"), Credential("Bearer 1")), clock=clock)
    with pytest.raises(ConfigException, match="no"):
        await used(found)
    assert await used(found) == "Bearer 1"


async def test_a_failure_that_nobody_waits_for_any_more_is_no_error(used, clock, background, settled):
    load = Loads(ConfigException("no"))
    load.goes_on.clear()
    found = TokenSource(load, clock=clock)
    waiting = background(used(found))
    await settled()
    waiting.cancel()
    load.goes_on.set()
    await settled()
    assert load.found == []


async def test_a_client_certificate_goes_into_the_configuration(configuration, clock):
    found = TokenSource(Loads(Credential(certificate=("/a.crt", "/a.key"))), clock=clock)
    await found(configuration)
    assert (configuration.cert_file, configuration.key_file) == ("/a.crt", "/a.key")
    assert configuration.api_key == {}


async def test_a_token_file_is_read_again_every_minute(used, clock, tmp_path):
    path = tmp_path / "token"
    path.write_text("first\n")
    found = of_token_file(path, clock=clock)
    assert await used(found) == "Bearer first"
    path.write_text("second")
    clock.advance(59)
    assert await used(found) == "Bearer first"
    clock.advance(1)
    assert await used(found) == "Bearer second"


async def test_an_empty_token_file_is_an_error(used, clock, tmp_path):
    (tmp_path / "token").write_text("\n")
    with pytest.raises(ConfigException, match="token: the file is empty"):
        await used(of_token_file(tmp_path / "token", clock=clock))


@pytest.fixture
def plugin(tmp_path):
    """Makes plugins: shell scripts that are executed once for each load, and count that."""

    def make(script, **config):
        path = tmp_path / "plugin"
        path.write_text(f"#!/bin/sh\necho run >>{tmp_path}/runs\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return of_plugin(provider({"command": str(path), "apiVersion": V1, **config}))

    make.runs = lambda: (tmp_path / "runs").read_text().count("run")
    return make


class provider(ExecProvider):  # noqa: N801 - stands for a call
    """A plugin's command, without a kubeconfig around it."""

    def __init__(self, config):
        self.api_version, self.args, self.env = config["apiVersion"], [config["command"]], dict(os.environ)


def credential(**status):
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


async def test_a_plugin_s_token_is_used(plugin, used):
    found = plugin(f"cat <<'X'\n{credential(token='t0k3n')}\nX")
    assert await used(found) == "Bearer t0k3n"
    assert await used(found) == "Bearer t0k3n"
    assert plugin.runs() == 1


async def test_a_plugin_is_told_what_it_is_asked_for(plugin, used, tmp_path):
    await used(plugin(f"echo $KUBERNETES_EXEC_INFO >{tmp_path}/info; cat <<'X'\n{credential(token='t')}\nX"))
    asked = json.loads((tmp_path / "info").read_text())
    assert asked == {"apiVersion": V1, "kind": "ExecCredential", "spec": {"interactive": False}}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no network >&2; exit 3", "exited with 3: no network"),
        ("echo s3cr3t", "the plugin's output is no ExecCredential"),
        ("echo '[]'", "the plugin's output is no ExecCredential"),
        (f"echo '{credential()}'", "neither a token nor a client certificate"),
        (f"echo '{credential(clientCertificateData='x')}'", "neither a token nor a client certificate"),
        (f"echo '{credential(token='t', expirationTimestamp='tomorrow')}'", "status cannot be read"),
        (f"echo '{json.dumps({'apiVersion': 'v0', 'status': {'token': 't'}})}'", "the plugin speaks v0"),
        (f"echo '{json.dumps({'apiVersion': V1, 'status': 7})}'", "the plugin's output is no ExecCredential"),
    ],
)
async def test_a_plugin_that_fails_is_an_error_that_says_why_and_no_more(plugin, used, script, said):
    with pytest.raises(ConfigException) as caught:
        await used(plugin(script))
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


async def test_a_plugin_that_hangs_is_killed(plugin, used, tmp_path, monkeypatch):
    monkeypatch.setattr(credentials, "PLUGIN_TIMEOUT", 0.5)
    with pytest.raises(TimeoutError):
        await used(plugin(f"echo $$ >{tmp_path}/pid; exec sleep 600"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_plugin_s_client_certificate_is_in_files_named_after_their_contents():
    found = credential_of({"clientCertificateData": "CERT", "clientKeyData": "KEY"})
    certificate, key = found.certificate
    assert [Path(path).read_text() for path in (certificate, key)] == ["CERT", "KEY"]
    assert Path(key).parent.stat().st_mode & 0o077 == 0
    assert credential_of({"clientCertificateData": "CERT", "clientKeyData": "KEY"}) == found
    assert credential_of({"clientCertificateData": "NEW", "clientKeyData": "KEY"}).certificate[0] != certificate


def test_a_plugin_says_when_its_credential_expires(clock):
    found = credential_of({"token": "t", "expirationTimestamp": "2026-11-23T12:00:00Z"})
    assert found == Credential("Bearer t", expires_at=clock.now())
