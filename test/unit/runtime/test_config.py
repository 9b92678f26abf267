import json

import pytest
import yaml

from swarm_operator.runtime import config
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.kubernetes_asyncio import ConfigException


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Neither a kubeconfig nor a pod, wherever the tests run."""
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "home" / "config"))
    return monkeypatch


@pytest.fixture
def kubeconfig(tmp_path):
    """Writes a kubeconfig with one context for each named host, the first of them current."""

    def write(file, *hosts, user=None):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": hosts[0],
            "clusters": [{"name": host, "cluster": {"server": f"http://{host}"}} for host in hosts],
            "users": [{"name": "me", "user": user or {"token": "t"}}],
            "contexts": [{"name": host, "context": {"cluster": host, "user": "me"}} for host in hosts],
        }
        path.write_text(yaml.safe_dump(document))
        return str(path)

    return write


@pytest.fixture
def pod(environment, tmp_path):
    """The inside of a pod, with a loader that says so, and its token."""
    token = tmp_path / "service-account-token"
    token.write_text("first")
    environment.setattr(config, "SERVICE_TOKEN_FILENAME", str(token))
    environment.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    environment.setattr(
        config,
        "load_incluster_config",
        lambda client_configuration, try_refresh_token: setattr(client_configuration, "host", "in-cluster"),
    )
    return token


async def test_a_file_that_is_named_goes_before_all(kubeconfig, environment, pod):
    environment.setenv("KUBECONFIG", kubeconfig("env", "from-env"))
    assert (await config.load_config(kubeconfig("given", "given"))).host == "http://given"


async def test_kubeconfig_goes_before_the_pod_s_service_account(kubeconfig, environment, pod):
    environment.setenv("KUBECONFIG", kubeconfig("env", "from-env"))
    loaded = await config.load_config()
    assert loaded.host == "http://from-env"
    assert loaded.api_key["BearerToken"] == "Bearer t"


async def test_the_pod_s_service_account_goes_before_the_home_directory(kubeconfig, pod):
    kubeconfig("home/config", "home")
    assert (await config.load_config()).host == "in-cluster"


async def test_the_home_directory_comes_last(kubeconfig):
    kubeconfig("home/config", "home")
    assert (await config.load_config()).host == "http://home"


async def test_the_current_context_of_several_is_used(kubeconfig):
    assert (await config.load_config(kubeconfig("given", "one", "two"))).host == "http://one"


async def test_nothing_at_all_is_an_error_that_says_so():
    with pytest.raises(ConfigException, match="config"):
        await config.load_config()


async def test_a_ca_that_is_not_to_the_letter_of_rfc_5280_is_trusted_as_go_s_clients_do(kubeconfig):
    found = await config.load_config(kubeconfig("named", "from-file"))
    assert found.disable_strict_ssl_verification is True


async def test_a_token_that_does_not_expire_is_not_renewed(kubeconfig):
    assert (await config.load_config(kubeconfig("given", "given"))).refresh_api_key_hook is None


async def test_a_pod_s_token_is_renewed_from_its_file(pod):
    found = await config.load_config()
    pod.write_text("second")
    for expected in ("first", "second"):
        await found.refresh_api_key_hook(found)
        assert found.api_key["BearerToken"] == f"Bearer {expected}"
        found.refresh_api_key_hook.refuse(f"Bearer {expected}")


@pytest.fixture
def user(tmp_path):
    """Users of a kubeconfig whose token is in the file `token`, by what reads it."""
    plugin = tmp_path / "plugin"
    plugin.write_text(
        "#!/bin/sh\n"
        'printf \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": %s}\' '
        f'"$(cat {tmp_path}/status)"\n'
    )
    plugin.chmod(0o700)
    return {
        "exec": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}},
        "tokenFile": {"tokenFile": "token"},
    }


@pytest.fixture
def put_token(tmp_path):
    def put(token, **status):
        (tmp_path / "token").write_text(token)
        (tmp_path / "status").write_text(json.dumps({"token": token, **status}))

    return put


@pytest.mark.parametrize("kind", ["exec", "tokenFile"])
async def test_a_token_that_is_refused_is_renewed(kubeconfig, server, widgets, widget, user, put_token, kind):
    put_token("first")
    found = await config.load_config(kubeconfig("given", server.url.removeprefix("http://"), user=user[kind]))
    put_token("second")
    server.then(server.json(widget()), server.status(401), server.json(widget()))
    async with Client(found) as client:
        for _ in range(2):
            await client.get(widgets, "ns", "a")
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer first"] * 2 + ["Bearer second"]


async def test_a_plugin_s_token_that_has_expired_is_renewed(kubeconfig, server, widgets, widget, user, put_token):
    put_token("first", expirationTimestamp="2020-01-01T00:00:00Z")
    found = await config.load_config(kubeconfig("given", server.url.removeprefix("http://"), user=user["exec"]))
    put_token("second", expirationTimestamp="2999-01-01T00:00:00Z")
    server.then(server.json(widget()), server.json(widget()))
    async with Client(found) as client:
        await client.get(widgets, "ns", "a")
        put_token("third")
        await client.get(widgets, "ns", "a")
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer second"] * 2
