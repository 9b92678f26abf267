"""The commands of the pages for those who run a cluster, as they are written, on a control plane of their own."""

from __future__ import annotations

import asyncio
import base64
import json
import os

import pytest
from support.controlplane import run_control_plane
from support.page_runs import to_run
from support.pages import TOP, blocks
from support.prometheus import custom_resource_definitions
from support.shell import answers, check, checkout

from swarm_operator.controllers.swarmmemorystore.storage import FINALIZER


@pytest.fixture(scope="module")
def plane(binaries, tmp_path_factory):
    """Its objects come and go as the pages say, so it is no other test's."""
    with run_control_plane(binaries, tmp_path_factory.mktemp("pages")) as plane:
        yield plane


@pytest.fixture
async def shell(plane, tmp_path, background):
    """What the commands need of their environment: kubectl that leads to the control plane, as `make` sees it too."""
    background(namespace_controller(plane))
    yield {
        "KUBECONFIG": plane.kubeconfig("admin"),
        "PATH": f"{plane.kubectl.parent}:{os.environ['PATH']}",
        "KUBECTL": str(plane.kubectl),
    }
    # Two pages make it.
    plane.kubectl_run("delete", "--ignore-not-found", "clusterrolebinding", "prometheus-swarm-operator")


async def namespace_controller(plane) -> None:
    """Let namespaces go that are being deleted, as the controller-manager would."""
    while True:
        listed = await asyncio.to_thread(plane.kubectl_run, "get", "namespaces", "-o", "json")
        for item in json.loads(listed.stdout)["items"]:
            if "deletionTimestamp" in item["metadata"]:
                item["spec"]["finalizers"] = []
                path = f"/api/v1/namespaces/{item['metadata']['name']}/finalize"
                await asyncio.to_thread(plane.kubectl_run, "replace", "--raw", path, "-f", "-", stdin=json.dumps(item))
        await asyncio.sleep(0.2)


def names(plane, what: str) -> set[str]:
    listed = plane.kubectl_run("get", what, "-A", "-o", "json")
    assert listed.returncode == 0, listed.stderr
    return {item["metadata"]["name"] for item in json.loads(listed.stdout)["items"]}


async def test_what_the_page_about_installing_says_works(plane, shell, tmp_path):
    applied = plane.kubectl_run("apply", "--server-side", "-f", "-", stdin=custom_resource_definitions())
    assert applied.returncode == 0, applied.stderr
    waited = plane.kubectl_run("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    assert waited.returncode == 0, waited.stderr
    commands = to_run("docs/installing.md", __file__)
    delete, undeploy = (
        next(number for number, command in enumerate(commands) if command.text.startswith(start))
        for start in ("kubectl delete -n swarm-samples -k", "make undeploy")
    )
    folder = checkout(tmp_path)
    await answers(commands[:delete], folder, seconds=120, **shell)
    # What was asked for is there ...
    (deployment,) = json.loads(plane.kubectl_run("get", "deployments", "-A", "-o", "json").stdout)["items"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "registry.example.com/swarm-operator:0.2.0"
    assert {"swarmcluster-sample"} == names(plane, "swarmclusters")
    assert {"swarm-operator-controller-manager"} == names(plane, "networkpolicies")
    assert {"swarm-operator-memories"} == names(plane, "podmonitors")
    await answers(commands[delete:undeploy], folder, seconds=120, **shell)
    assert names(plane, "swarmclusters") | names(plane, "swarmmemorystores") == set()
    again = plane.kubectl_run("apply", "-n", "swarm-samples", "-k", str(TOP / "config/samples"))
    assert again.returncode == 0, again.stderr
    await answers(commands[undeploy : undeploy + 1], folder, seconds=120, **shell)
    # ... and when the operator is gone, the swarms are still there.
    assert names(plane, "deployments") == set()
    assert "swarm-operator-manager" not in names(plane, "clusterroles")
    assert names(plane, "swarmmemorystores") == {"swarmmemorystore-sample"}
    gone = plane.kubectl_run("delete", "-n", "swarm-samples", "-k", str(TOP / "config/samples"))
    assert gone.returncode == 0, gone.stderr
    *_, uninstalled, _ = await answers(commands[undeploy + 1 :], folder, seconds=120, **shell)
    assert "CRD:       swarmclusters.swarm.claudeflow.io" in uninstalled
    assert not {name for name in names(plane, "crds") if "claudeflow" in name}
    installed = await make("install", folder, shell)
    assert installed[0] == 0, installed


async def make(target: str, folder, shell, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        "make", "--no-print-directory", target, cwd=folder, env={**os.environ, **shell, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    return process.returncode, output


async def test_the_crds_stay_as_long_as_there_are_stores_unless_told(plane, shell, tmp_path):
    folder = checkout(tmp_path)
    await make("install", folder, shell)
    plane.kubectl_run("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    applied = plane.kubectl_run("apply", "-n", "default", "-k", str(TOP / "config/samples"))
    assert applied.returncode == 0, applied.stderr
    code, output = await make("uninstall", folder, shell)
    assert code != 0
    for part in (
        "Nothing was deleted",
        "DELETE_STORES=yes",
        "swarmmemorystore-sample",
        "swarmcluster-sample",
        "Context:",
    ):
        assert part in output
    assert names(plane, "swarmmemorystores") == {"swarmmemorystore-sample"}
    # As an operator left it that is gone.
    held = json.dumps({"metadata": {"finalizers": [FINALIZER]}})
    command = ("patch", "swarmmemorystores/swarmmemorystore-sample", "-n", "default", "--type=merge", "-p", held)
    assert plane.kubectl_run(*command).returncode == 0
    away, _ = await make("uninstall", folder, {**shell, "KUBECONFIG": "/dev/null"}, DELETE_STORES="yes")
    assert away != 0
    code, output = await make("uninstall", folder, shell, DELETE_STORES="yes")
    assert code == 0, output
    assert not {name for name in names(plane, "crds") if "claudeflow" in name}
    code, output = await make("uninstall", folder, shell)
    assert (code, "Nothing to delete" in output) == (0, True), output
    await make("install", folder, shell)


async def test_what_the_page_about_namespaces_says_works(plane, shell, tmp_path):
    """As far as it goes without an operator: the examples are taken, and the commands lead somewhere."""
    commands = to_run("docs/NAMESPACE_AND_GITHUB_GUIDE.md", __file__)
    folder = checkout(tmp_path)
    (folder / "private-key.pem").write_text("a key")
    *_, deleted, applied, shown, _, coders, _, rotated, allowed = await answers(commands, folder, **shell)
    assert "deleted" in deleted
    assert "swarmcluster.swarm.claudeflow.io/bees created" in applied
    assert "bees" in shown
    assert "swarmcluster.swarm.claudeflow.io/coders created" in coders
    assert ("annotated" in rotated, "labeled" in allowed) == (True, True)
    gone = plane.kubectl_run(
        "delete",
        "swarmcluster/bees",
        "swarmcluster/coders",
        "secret/github-app",
        "namespace/research",
        "namespace/shared",
        "--wait=false",
    )
    assert gone.returncode == 0, gone.stderr


async def test_both_pods_are_pulled_with_the_secrets_that_deploy_names(plane, shell, tmp_path):
    folder = checkout(tmp_path)
    code, output = await make("deploy", folder, shell, IMAGE_PULL_SECRETS="first,second")
    assert code == 0, output
    (deployment,) = json.loads(plane.kubectl_run("get", "deployments", "-A", "-o", "json").stdout)["items"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "first"}, {"name": "second"}]
    assert {"name": "SWARM_OPERATOR_MEMORY_IMAGE_PULL_SECRETS", "value": "first,second"} in pod["containers"][0]["env"]


async def test_what_the_pages_about_the_operator_say_works(plane, shell, tmp_path):
    await check(to_run("docs/operator.md", __file__), tmp_path, **shell)
    await check(to_run("docs/upgrading.md", __file__), tmp_path, **shell)
    await answers(to_run("docs/operator-backups.md", __file__), tmp_path, **shell)
    await answers(to_run("docs/operator-restores.md", __file__), tmp_path, **shell)
    assert "prometheus-swarm-operator" in names(plane, "clusterrolebindings")


@pytest.fixture
def auth(plane):
    """The pages' store, and its Secret as the operator makes it, while tokens are being replaced."""
    store = {
        "apiVersion": "swarm.claudeflow.io/v1alpha1",
        "kind": "SwarmMemoryStore",
        "metadata": {"name": "my-cluster-memory"},
        "spec": {},
    }
    applied = plane.kubectl_run("apply", "-n", "default", "-f", "-", stdin=json.dumps(store))
    assert applied.returncode == 0, applied.stderr
    names = ("client-token", "admin-token", "former-client-token", "former-admin-token")
    data = {name: base64.b64encode(b"old-0123456789abcdef").decode() for name in names}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "my-cluster-memory-auth"}, "data": data}
    applied = plane.kubectl_run("apply", "-n", "default", "-f", "-", stdin=json.dumps(secret))
    assert applied.returncode == 0, applied.stderr

    def read() -> dict[str, str]:
        found = json.loads(
            plane.kubectl_run("get", "-n", "default", "secret/my-cluster-memory-auth", "-o", "json").stdout
        )
        return {name: base64.b64decode(value).decode() for name, value in found["data"].items()}

    yield read
    plane.kubectl_run("delete", "-n", "default", "swarmmemorystore/my-cluster-memory")


async def test_tokens_reach_the_secret_as_their_page_says(plane, shell, auth, tmp_path):
    file = blocks("tokens.md")[0]
    (tmp_path / "tokens.json").write_text(file)
    await answers(to_run("docs/tokens.md", __file__), tmp_path, **shell)
    found = auth()
    assert found["tokens.json"] == file
    assert len(found["client-token"]) == 64
    assert found["admin-token"] == "old-0123456789abcdef"
    assert found.keys() == {"tokens.json", "client-token", "admin-token"}
    (store,) = json.loads(plane.kubectl_run("get", "swarmmemorystores", "-n", "default", "-o", "json").stdout)["items"]
    assert store["metadata"]["annotations"]["swarm.claudeflow.io/rotate-tokens"].isdecimal()


async def test_the_token_of_an_mcp_host_comes_from_a_file_or_the_secret(shell, auth, tmp_path):
    (tmp_path / "data" / "tokens").mkdir(parents=True)
    (tmp_path / "data" / "tokens" / "client-token").write_text("from-a-file\n")
    for command, token in zip(to_run("docs/mcp.md", __file__), ("from-a-file", "old-0123456789abcdef"), strict=True):
        printing = type(command)(f"{command.text}; echo $SWARM_MEMORY_TOKEN", "")
        assert await answers([printing], tmp_path, **shell) == [f"{token}\n"]
