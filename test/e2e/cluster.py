"""Ways to the kind cluster that the tests share: kubectl, waiting, killing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
CONTEXT = f"kind-{os.environ.get('KIND_CLUSTER', 'swarm')}"
NODE = f"{os.environ.get('KIND_CLUSTER', 'swarm')}-control-plane"
SYSTEM = "swarm-operator-system"
# Naming its address, kubectl failed on the way to the server. A server that has just started forbids everything.
_API_SERVER_AWAY = re.compile(
    r"https://127\.0\.0\.1:\d+/|connection to the server|Unable to connect to the server|etcdserver: "
    r'|User "kubernetes-admin" cannot'
)


def run(*command: str | Path, stdin: str | None = None, check: bool = True, timeout: float = 180) -> str:
    done = subprocess.run(
        list(map(str, command)), input=stdin, capture_output=True, text=True, check=False, timeout=timeout, cwd=TOP
    )
    assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def kubectl(*arguments: str, **options: Any) -> str:
    """Run kubectl. When a starved machine has its one API server start anew, try again for two minutes."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return run("kubectl", "--context", CONTEXT, *arguments, **options)
        except AssertionError as error:
            if not _API_SERVER_AWAY.search(str(error)) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def eventually(check: Callable[[], object], *, seconds: float = 180.0) -> Any:
    """Wait until `check` returns something true without failing, and return that; else fail as it last failed."""
    deadline, pause = time.monotonic() + seconds, 0.3
    while True:
        try:
            found = check()
            if found or time.monotonic() > deadline:
                assert found, f"still not so after {seconds} s"
                return found
        except (AssertionError, KeyError, ValueError):
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
        # A look starts kubectl, and often a program in a pod, which costs more CPU time than what is waited for.
        pause = min(1.25 * pause, 1.0)


def container_id(pod: dict[str, Any]) -> str:
    (status,) = pod["status"]["containerStatuses"]
    assert "running" in status["state"]
    return str(status["containerID"]).removeprefix("containerd://")


def kill_9(pod: dict[str, Any]) -> None:
    """kill -9 of a pod's process, from the node: inside the pod it is process 1, which ignores it."""
    run("docker", "exec", NODE, "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", container_id(pod))


def kill_operator() -> bool:
    """kill -9 of the operator, as soon as it runs."""
    pods = json.loads(kubectl("-n", SYSTEM, "get", "pods", "-l", "control-plane=controller-manager", "-o", "json"))
    (pod,) = pods["items"]
    kill_9(pod)
    # A pod whose process is killed again and again is held back longer each time; a new one starts at once.
    kubectl("-n", SYSTEM, "delete", "pod", pod["metadata"]["name"])
    return True


def host_address() -> str:
    """Return the address at which pods reach a server of this host: the node's gateway."""
    route = run("docker", "exec", NODE, "ip", "-4", "route", "show", "default")
    return route.split()[2]
