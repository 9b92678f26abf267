import pytest
import yaml
from kubernetes_asyncio.config import ConfigException

from swarm_operator.runtime import config


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

    def write(file, *hosts):
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": hosts[0],
            "clusters": [{"name": host, "cluster": {"server": f"http://{host}"}} for host in hosts],
            "users": [{"name": "me", "user": {"token": "t"}}],
            "contexts": [{"name": host, "context": {"cluster": host, "user": "me"}} for host in hosts],
        }
        path.write_text(yaml.safe_dump(document))
        return str(path)

    return write


@pytest.fixture
def pod(environment):
    """The inside of a pod, with a loader that says so."""
    environment.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    environment.setattr(
        config,
        "load_incluster_config",
        lambda client_configuration: setattr(client_configuration, "host", "in-cluster"),
    )


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


async def test_a_context_can_be_chosen(kubeconfig):
    assert (await config.load_config(kubeconfig("given", "one", "two"), "two")).host == "http://two"


async def test_nothing_at_all_is_an_error_that_says_so():
    with pytest.raises(ConfigException, match="config"):
        await config.load_config()


async def test_a_ca_that_is_not_to_the_letter_of_rfc_5280_is_trusted_as_go_s_clients_do(kubeconfig):
    found = await config.load_config(kubeconfig("named", "from-file"))
    assert found.disable_strict_ssl_verification is True
