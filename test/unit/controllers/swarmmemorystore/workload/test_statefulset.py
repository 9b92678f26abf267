import json
from pathlib import Path

import pytest

from swarm_operator.api.quantity import canonical_quantity, parse_quantity
from swarm_operator.api.v1alpha1.swarmmemorystore import SwarmMemoryStoreSpec
from swarm_operator.controllers.swarmmemorystore.backups.objects import final_name
from swarm_operator.controllers.swarmmemorystore.settings import config_map
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_of, stateful_set
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.sqlite import StoreConfig


@pytest.mark.parametrize(
    ("default", "image"),
    [
        ("swarm-memory", "swarm-memory:v2"),
        ("swarm-memory:v1", "swarm-memory:v2"),
        ("ghcr.io/claudeflow/swarm-memory:v1", "ghcr.io/claudeflow/swarm-memory:v2"),
        ("localhost:5000/swarm-memory", "localhost:5000/swarm-memory:v2"),
        ("localhost:5000/a/swarm-memory:v1", "localhost:5000/a/swarm-memory:v2"),
        ("registry:5000/swarm-memory@sha256:" + "0" * 64, "registry:5000/swarm-memory:v2"),
        ("registry:5000/swarm-memory:v1@sha256:" + "0" * 64, "registry:5000/swarm-memory:v2"),
    ],
)
def test_a_version_is_the_tag_of_the_operator_s_own_image(store, default, image):
    assert image_of(store(version="v2"), default) == image
    assert image_of(store(), default) == default, "the default is taken as it is, digest and all"


@pytest.fixture
def pod(store):
    return stateful_set(store(), image="i")["spec"]["template"]["spec"]


@pytest.fixture
def container(pod):
    (only,) = pod["containers"]
    return only


def test_the_pod_meets_the_restricted_standard(pod, container):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys()
    assert all("hostPort" not in port for port in container["ports"])
    kinds = {kind for volume in pod["volumes"] for kind in volume.keys() - {"name"}}
    assert kinds == {"persistentVolumeClaim", "secret", "configMap", "emptyDir"}


def test_the_pod_has_no_token_of_the_api_server(pod):
    assert pod["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod
    assert pod["enableServiceLinks"] is False


def test_the_image_is_pulled_with_the_secrets_that_are_named(store, pod):
    assert "imagePullSecrets" not in pod, "those of the pod's ServiceAccount count then"
    named = stateful_set(store(), image="i", pull_secrets=("a", "b"))["spec"]["template"]["spec"]
    assert named == {**pod, "imagePullSecrets": [{"name": "a"}, {"name": "b"}]}


def test_the_pod_listens_on_the_addresses_of_both_families(container):
    assert "--host=::" in container["args"]


def test_the_pod_may_write_to_its_volume_and_to_tmp_only(pod, container):
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/data", "/tmp"}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_tokens_are_mounted_as_files_that_others_cannot_read(pod, container):
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "tokens"]
    assert volume["secret"] == {"secretName": "bees-auth", "defaultMode": 0o440}
    assert not [variable for variable in container["env"] if "secretKeyRef" in variable.get("valueFrom", {})]
    assert not [variable for variable in container["env"] if "TOKEN" in variable.get("value", "")]


def test_the_environment_carries_the_spec(store):
    made = stateful_set(
        store(
            swarmId="hive",
            enableWAL=False,
            mcpMode=False,
        ),
        image="registry/swarm-memory:v2",
    )
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry/swarm-memory:v2"
    fixed = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    assert fixed == {
        "SWARM_ID": "hive",
        "DATA_DIR": "/data",
        "TOKEN_DIR": "/etc/swarm-memory/tokens",
        "SERVICE_ACCOUNTS": "/etc/swarm-memory/identity/service-accounts.json",
        "ENABLE_WAL": "false",
        "MCP_MODE": "false",
        "KEEP_FORMER": "true",
        "FINAL_BACKUP": final_name(store()),
    }


@pytest.mark.parametrize("cache", [1, 50, 320, 832, 65_536])
def test_memory_grows_with_the_cache_and_is_in_canonical_form(store, cache):
    made = stateful_set(store(cacheMemoryMB=cache), image="i")
    resources = made["spec"]["template"]["spec"]["containers"][0]["resources"]
    request, limit = resources["requests"]["memory"], resources["limits"]["memory"]
    assert parse_quantity(request) == (192 + cache) * 2**20
    assert parse_quantity(limit) == 2 * parse_quantity(request)
    for quantity in (request, limit):
        assert quantity == canonical_quantity(quantity)
    assert "cpu" not in resources["limits"], "a limit of CPU time would only add latency"


def test_there_is_one_pod_that_is_replaced_even_if_it_never_got_ready(store):
    spec = stateful_set(store(), image="i")["spec"]
    assert (spec["replicas"], spec["podManagementPolicy"]) == (1, "Parallel")
    assert spec["serviceName"] == "bees-headless"
    assert "volumeClaimTemplates" not in spec


def test_the_selector_finds_the_pod(store):
    spec = stateful_set(store(swarmId="hive"), image="i")["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_probes_leave_time_to_recover_a_database(container):
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    names = {port["name"] for port in container["ports"]}
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")} <= names


def test_the_pod_s_grace_period_is_longer_than_the_service_s(pod):
    """The service's grace period is for requests. The last checkpoint runs after it."""
    assert pod["terminationGracePeriodSeconds"] >= ServiceSettings(data_dir=Path()).grace + 30


def test_the_same_store_makes_the_same_object(store):
    assert json.dumps(stateful_set(store(), image="i")) == json.dumps(stateful_set(store(), image="i"))


@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_the_service_takes_every_number_that_the_crd_takes(store, bound):
    """Both have limits: a number within those of one and not of the other would keep the pod from starting."""
    fields = SwarmMemoryStoreSpec.model_json_schema(by_alias=True)["properties"]
    extremes = {name: field[bound] for name, field in fields.items() if bound in field}
    assert {"cacheSize", "cacheMemoryMB", "compressionThreshold"} <= extremes.keys()
    environment = config_map(store(**extremes))["data"]
    StoreConfig(
        cache_size=int(environment["CACHE_SIZE"]),
        cache_memory_mb=int(environment["CACHE_MEMORY_MB"]),
        compression_threshold=int(environment["COMPRESSION_THRESHOLD"]),
    )


def test_off_is_as_without_tls(store):
    assert stateful_set(store(tls={"mode": "off"}), image="i") == stateful_set(store(), image="i")


@pytest.mark.parametrize(
    ("tls", "secret"), [({"mode": "auto"}, "bees-tls"), ({"mode": "secret", "secretName": "mine"}, "mine")]
)
def test_tls_gives_the_pod_its_certificate_and_probes_it_by_https(store, tls, secret):
    template = stateful_set(store(tls=tls), image="i")["spec"]["template"]
    (container,) = template["spec"]["containers"]
    (volume,) = [each for each in template["spec"]["volumes"] if each["name"] == "certificate"]
    assert volume["secret"] == {"secretName": secret, "defaultMode": 0o440}
    (mount,) = [each for each in container["volumeMounts"] if each["name"] == "certificate"]
    assert mount["readOnly"]
    found = {each["name"]: each.get("value") for each in container["env"]}
    assert found["TLS_DIR"] == mount["mountPath"]
    assert found["SWARM_MEMORY_URL"] == "https://bees.ns.svc:8080"
    assert found["SWARM_MEMORY_CA_FILE"] == f"{mount['mountPath']}/ca.crt"
    probes = [container[name]["httpGet"]["scheme"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert probes == ["HTTPS"] * 3
    assert template["metadata"]["annotations"]["prometheus.io/scheme"] == "https"
