"""examples/runtime: an operator on swarm_operator.runtime, with a kind of its own and a real API server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from support.controlplane import free_port
from support.pages import TOP

from swarm_operator.runtime import Resource

EXAMPLE = TOP / "examples" / "runtime"
GREETING = Resource("example.com", "v1", "Greeting", "greetings")
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps")


@pytest.fixture
def greeting_kind(control_plane):
    crd = str(EXAMPLE / "crd.yaml")
    for arguments in (("apply", "-f", crd), ("wait", "--for=condition=Established", "-f", crd)):
        done = control_plane.kubectl_run(*arguments)
        assert done.returncode == 0, done.stderr
    yield
    control_plane.kubectl_run("delete", "-f", crd, "--wait=false")


@pytest.fixture
def greeter(greeting_kind, control_plane, tmp_path):
    port = free_port()
    environment = {**os.environ, "KUBECONFIG": control_plane.kubeconfig("admin")}
    with (tmp_path / "greeter.log").open("w") as log:
        command = [sys.executable, str(EXAMPLE / "greeter.py"), str(port)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        process.port = port
        yield process
        process.kill()
        process.wait()


async def test_the_example_does_what_it_says(greeter, objects, eventually):
    def ready():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{greeter.port}/readyz", timeout=60) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    await objects.apply(GREETING, "hello", {"text": "before it starts"})

    async def greeted(text):
        generation = (await objects.get(GREETING, "hello"))["metadata"]["generation"]
        observed = (await objects.get(GREETING, "hello"))["status"]["observedGeneration"]
        return (await objects.get(CONFIG_MAP, "hello"))["data"] == {"text": text} and observed == generation

    await eventually(lambda: asyncio.to_thread(ready))
    await eventually(lambda: greeted("before it starts"))
    await objects.apply(GREETING, "hello", {"text": "changed"})
    await eventually(lambda: greeted("changed"))
    made = await objects.get(CONFIG_MAP, "hello")
    owner = await objects.get(GREETING, "hello")
    assert made["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    await objects.client.delete(CONFIG_MAP, objects.namespace, "hello", uid=made["metadata"]["uid"])

    async def made_again():
        return (await objects.get(CONFIG_MAP, "hello"))["metadata"]["uid"] != made["metadata"]["uid"]

    await eventually(made_again)
    version = (await objects.get(CONFIG_MAP, "hello"))["metadata"]["resourceVersion"]
    greeter.terminate()
    assert await asyncio.to_thread(greeter.wait, 60) == 0, "it stops in order"
    assert (await objects.get(CONFIG_MAP, "hello"))["metadata"]["resourceVersion"] == version
