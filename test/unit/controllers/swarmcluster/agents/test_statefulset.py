import json
import os
import subprocess

import pytest

from swarm_operator.api.v1alpha1.agents import RESERVED
from swarm_operator.api.v1alpha1.swarmmemorystore import Endpoints
from swarm_operator.controllers.common import labels
from swarm_operator.controllers.swarmcluster.agents.config import config_map
from swarm_operator.controllers.swarmcluster.agents.statefulset import (
    SHUTDOWN_SECONDS,
    service,
    service_account,
    stateful_set,
    uses_own_tokens,
)

GITHUB = {"appID": 1, "privateKeyRef": {"name": "app"}}


@pytest.fixture
def made(swarm, memory):
    def make(template=None, *, own_tokens=True, **spec):
        cluster = swarm(template, **spec)
        return stateful_set(
            cluster, cluster.spec.agent_template, memory, image="swarm-memory:v1", scaled_at="then",
            own_tokens=own_tokens,
        )  # fmt: skip

    return make


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def container_of(workload):
    (container,) = pod_of(workload)["containers"]
    return container


def environment(workload):
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container_of(workload)["env"]}


def test_agents_have_stable_names_and_do_not_wait_for_each_other(made):
    workload = made(agents=4)
    assert workload["metadata"]["name"] == "hive-agent"
    spec = workload["spec"]
    assert (spec["replicas"], spec["serviceName"], spec["podManagementPolicy"]) == (4, "hive-agent", "Parallel")
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_the_template_does_not_depend_on_the_number_of_agents(made):
    """Otherwise each scaling would replace all agents."""
    templates = [made(agents=count, minAgents=low)["spec"]["template"] for count, low in ((1, 0), (5, 3), (100, 50))]
    assert templates == [templates[0]] * 3


def test_an_agent_is_told_who_it_is_and_where_its_memory_is(made):
    found = environment(made({"capabilities": ["coder", "tester"], "cognitivePatterns": ["lateral"]}, topology="ring"))
    assert found == {
        "AGENT_ID": {"fieldRef": {"fieldPath": "metadata.name"}},
        "SWARM_ID": "hive",
        "SWARM_TOPOLOGY": "ring",
        "SWARM_PEERS_FILE": "/etc/swarm/$(AGENT_ID).peers",
        "SWARM_MEMORY_URL": "http://hive-memory.ns.svc:8080",
        "SWARM_MEMORY_TOKEN_FILE": "/etc/swarm-memory/tokens/token",
        "SWARM_MCP_CONFIG": "/etc/swarm/mcp.json",
        "AGENT_GRACE": "30s",
        "AGENT_TASK_TYPES": "coder,tester",
        "AGENT_COGNITIVE_PATTERNS": "lateral",
    }
    with_hive = environment(made(hiveMind={"enabled": True}))
    assert with_hive["SWARM_HIVE_MIND_TOKEN_FILE"] == found["SWARM_MEMORY_TOKEN_FILE"]
    with_github = environment(made(githubApp=GITHUB))
    assert with_github == environment(made()) | {
        "GITHUB_TOKEN_FILE": "/etc/swarm-github/token",
        "GIT_CONFIG_SYSTEM": "/etc/swarm/gitconfig",
    }
    assert {*found, *with_hive, *with_github, "SWARM_PEERS", "SWARM_MEMORY_CA_FILE"} == {*RESERVED}
    assert container_of(made())["env"][0]["name"] == "AGENT_ID", "others refer to it"


def test_an_agent_mounts_the_github_token_and_starts_without_it(made, swarm):
    workload = made(githubApp=GITHUB)
    mount = {"name": "github-token", "mountPath": "/etc/swarm-github", "readOnly": True}
    assert mount in container_of(workload)["volumeMounts"]
    (volume,) = [each for each in pod_of(workload)["volumes"] if each["name"] == "github-token"]
    assert volume["secret"] == {"secretName": "hive-github-token", "defaultMode": 0o440, "optional": True}
    config = config_map(swarm(githubApp=GITHUB), namespace="ns", mcp_url=None)["data"]
    assert 'credential "https://github.com"' in config["gitconfig"]
    assert "gitconfig" not in config_map(swarm(), namespace="ns", mcp_url=None)["data"]
    assert "github" not in str(made())


def test_users_add_variables(made):
    source = {"secretKeyRef": {"name": "model", "key": "key"}}
    env = [{"name": "A", "value": "$(AGENT_ID)"}, {"name": "KEY", "valueFrom": source}, {"name": "EMPTY", "value": ""}]
    assert container_of(made({"env": env}))["env"][-3:] == [env[0], env[1], {"name": "EMPTY"}]


@pytest.mark.parametrize("own_tokens", [True, False])
def test_users_may_give_a_host_that_reads_no_file_a_static_token(made, own_tokens):
    source = {"secretKeyRef": {"name": "hive-memory-auth", "key": "another"}}
    given = {"name": "SWARM_MEMORY_TOKEN", "valueFrom": source}
    env = container_of(made({"env": [given]}, own_tokens=own_tokens))["env"]
    assert [each for each in env if each["name"] == "SWARM_MEMORY_TOKEN"] == [given]


def test_the_pod_is_restricted_and_has_a_token_of_its_own_and_no_other(made):
    pod, container = pod_of(made()), container_of(made())
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("hive-agent", False)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not [volume for volume in pod["volumes"] if "secret" in volume]
    (token,) = [source for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    assert token == {"serviceAccountToken": {"audience": "swarm-memory", "expirationSeconds": 600, "path": "token"}}


def test_a_memory_that_cannot_verify_tokens_gets_the_client_s(made):
    """Which the hive mind does not know: its own client token is in no agent's pod."""
    workload = made(own_tokens=False, hiveMind={"enabled": True})
    assert "SWARM_HIVE_MIND_URL" not in environment(workload)
    secret = {"secretKeyRef": {"name": "hive-memory-auth", "key": "client-token"}}
    assert environment(workload)["SWARM_MEMORY_TOKEN_FILE"] == "/etc/swarm-memory/tokens/client-token"
    assert environment(workload)["SWARM_MEMORY_TOKEN"] == secret
    (token,) = [volume["secret"] for volume in pod_of(workload)["volumes"] if "secret" in volume]
    assert token["items"] == [{"key": "client-token", "path": "client-token"}]
    assert [uses_own_tokens(made(own_tokens=own)) for own in (True, False)] == [True, False]


@pytest.mark.parametrize(("period", "seconds"), [(None, 30), ("2m", 120), ("1500ms", 2)])
def test_an_agent_has_its_grace_period_and_time_to_release_its_task(made, period, seconds):
    workload = made({"terminationGracePeriod": period} if period else {})
    assert pod_of(workload)["terminationGracePeriodSeconds"] == seconds + SHUTDOWN_SECONDS
    assert environment(workload)["AGENT_GRACE"] == (period or "30s")


def test_an_image_is_pulled_with_the_secrets_of_the_memory_s(swarm, memory):
    cluster = swarm()
    workload = stateful_set(
        cluster, cluster.spec.agent_template, memory, image="i", scaled_at="then", own_tokens=True,
        pull_secrets=("a", "b"),
    )  # fmt: skip
    assert pod_of(workload)["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert workload["metadata"]["annotations"] == {labels.SCALED_AT: "then"}


SHELL = ["/bin/sh", "-c"]


@pytest.mark.parametrize(
    ("template", "image", "program"),
    [
        ({}, "swarm-memory:v1", ["swarm-memory", "agent"]),
        ({"args": ["agent", "--exec", "wc -w"]}, "swarm-memory:v1", ["swarm-memory", "agent", "--exec", "wc -w"]),
        ({"command": ["python3", "a.py"]}, "swarm-memory:v1", ["python3", "a.py"]),
        ({"image": "mine", "command": ["/run"], "args": ["--fast"]}, "mine", ["/run", "--fast"]),
    ],
)
def test_a_program_that_is_known_is_started_by_a_shell_that_sets_the_peers(made, template, image, program):
    container = container_of(made(template))
    assert (container["image"], container["command"][:2], container["args"]) == (image, SHELL, program)


@pytest.mark.parametrize(("args", "wanted"), [(None, {}), ([], {}), (["--fast"], {"args": ["--fast"]})])
def test_an_image_s_own_program_is_started_as_the_image_says(made, args, wanted):
    container = container_of(made({"image": "mine"} | ({} if args is None else {"args": args})))
    assert {name: container[name] for name in ("command", "args") if name in container} == wanted


def launch(container, tmp_path, **environment):
    """Start the program of a container here, as the kubelet would with its file of peers in tmp_path."""
    (tmp_path / "token").write_text("the-token")  # as the kubelet does, without an end of line
    variables = {
        "PATH": os.environ["PATH"], "SWARM_PEERS_FILE": str(tmp_path / "hive-agent-1.peers"),
        "SWARM_MEMORY_TOKEN_FILE": str(tmp_path / "token"), **environment,
    }  # fmt: skip
    return subprocess.run(
        [*container["command"], *container["args"]], env=variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("agents", [1, 2, 5])
@pytest.mark.parametrize("topology", ["mesh", "ring", "star", "hierarchical"])
def test_each_agent_has_its_peers_in_its_environment(made, swarm, tmp_path, topology, agents):
    command = {"command": ["sh", "-c", 'echo "$SWARM_PEERS:$0:$1"'], "args": ["a b", "$c"]}
    found = config_map(swarm(agents=agents, topology=topology), namespace="ns", mcp_url=None)["data"]
    for name, text in found.items():
        (tmp_path / name).write_text(text)
        started = launch(container_of(made(command)), tmp_path, SWARM_PEERS_FILE=str(tmp_path / name))
        assert (started.stdout, started.returncode) == (f"{text.strip()}:a b:$c\n", 0), started.stderr
    assert len(found) == agents


def test_an_agent_whose_peers_are_not_there_yet_does_not_start(made, tmp_path):
    started = launch(container_of(made({"command": ["echo", "started"]})), tmp_path)
    assert started.returncode != 0
    assert "hive-agent-1.peers" in started.stderr
    assert started.stdout == ""


@pytest.mark.parametrize(("given", "found"), [({}, "the-token"), ({"SWARM_MEMORY_TOKEN": "mine"}, "mine")])
def test_an_agent_has_the_token_of_its_start_in_its_environment(made, tmp_path, given, found):
    (tmp_path / "hive-agent-1.peers").write_text("\n")
    started = launch(container_of(made({"command": ["sh", "-c", 'echo "$SWARM_MEMORY_TOKEN"']})), tmp_path, **given)
    assert (started.stdout, started.returncode) == (f"{found}\n", 0), started.stderr


def test_an_agent_without_a_token_does_not_start(made, tmp_path):
    (tmp_path / "hive-agent-1.peers").write_text("\n")
    missing = {"SWARM_MEMORY_TOKEN_FILE": str(tmp_path / "missing")}
    started = launch(container_of(made({"command": ["echo", "started"]})), tmp_path, **missing)
    assert (started.stdout, started.returncode != 0) == ("", True)


def test_peers_have_dns_names_before_they_are_ready(made, swarm):
    found = service(swarm(), namespace="ns")
    assert found["metadata"]["name"] == made()["spec"]["serviceName"]
    assert (found["spec"]["clusterIP"], found["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert found["spec"]["selector"] == made()["spec"]["selector"]["matchLabels"]


def test_the_account_has_no_token_mounted(swarm):
    found = service_account(swarm(), namespace="ns")
    assert (found["metadata"]["name"], found["automountServiceAccountToken"]) == ("hive-agent", False)


def test_an_mcp_client_finds_the_memory_and_its_token(swarm, tmp_path):
    url = "http://hive-memory.ns.svc:8080/mcp"
    found = config_map(swarm(), namespace="ns", mcp_url=url)["data"]["mcp.json"]
    (server,) = json.loads(found)["mcpServers"].values()
    helper = server.pop("headersHelper")
    assert server == {"type": "http", "url": url, "headers": {"Authorization": "Bearer ${SWARM_MEMORY_TOKEN}"}}
    (tmp_path / "a token").write_text("renewed")
    made = subprocess.run(
        helper, shell=True, env={"SWARM_MEMORY_TOKEN_FILE": str(tmp_path / "a token")}, capture_output=True, check=True
    )
    assert json.loads(made.stdout) == {"Authorization": "Bearer renewed"}


def test_the_peers_of_the_largest_swarm_with_the_longest_name_fit_into_a_config_map(swarm, agents_object):
    obj = agents_object(agents=100)
    obj["metadata"]["name"] = "a" * 45
    cluster = type(swarm()).model_validate(obj)
    assert len(json.dumps(config_map(cluster, namespace="ns", mcp_url="http://x"))) < 1024 * 1024


def test_pods_in_another_namespace_carry_the_way_to_their_swarm(swarm, memory, made):
    assert made()["spec"]["template"]["metadata"]["labels"][labels.AGENTS] == "hive"
    memory.metadata.namespace = "far"
    cluster = swarm()
    workload = stateful_set(cluster, cluster.spec.agent_template, memory, image="i", scaled_at="then", own_tokens=True)
    found = workload["spec"]["template"]["metadata"]["labels"]
    assert labels.AGENTS not in found
    assert found.items() >= labels.owner_elsewhere({"metadata": cluster.metadata.model_dump()}).items()


def secure(memory):
    endpoints = Endpoints(http="https://hive-memory.ns.svc:8080")
    return memory.model_copy(update={"status": memory.status.model_copy(update={"endpoints": endpoints})})


def test_agents_of_a_memory_with_tls_get_its_ca(made, swarm, memory):
    plain = made()
    assert "SWARM_MEMORY_CA_FILE" not in environment(plain)
    cluster = swarm({})
    workload = stateful_set(
        cluster, cluster.spec.agent_template, secure(memory), image="i", scaled_at="then", own_tokens=True
    )
    (volume,) = [each for each in pod_of(workload)["volumes"] if each["name"] == "ca"]
    assert volume["configMap"]["name"] == "hive-memory-ca"
    (mount,) = [each for each in container_of(workload)["volumeMounts"] if each["name"] == "ca"]
    found = environment(workload)
    assert found["SWARM_MEMORY_URL"] == "https://hive-memory.ns.svc:8080"
    assert found["SWARM_MEMORY_CA_FILE"] == found["NODE_EXTRA_CA_CERTS"] == f"{mount['mountPath']}/ca.crt"


def test_a_user_s_own_ca_of_node_counts(swarm, memory):
    cluster = swarm({"env": [{"name": "NODE_EXTRA_CA_CERTS", "value": "/mine"}]})
    workload = stateful_set(
        cluster, cluster.spec.agent_template, secure(memory), image="i", scaled_at="then", own_tokens=True
    )
    given = [each for each in container_of(workload)["env"] if each["name"] == "NODE_EXTRA_CA_CERTS"]
    assert given == [{"name": "NODE_EXTRA_CA_CERTS", "value": "/mine"}]
