"""Backups on a real cluster: what was acknowledged before one is in the store that is made from it, byte for byte."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e import acked
from e2e.access import STORE
from e2e.cluster import CONTEXT, TOP, eventually, host_address, kill_9, kill_operator, kubectl
from e2e.space import Space, new_space
from integration.backups.objectstores import SECRET, ObjectStore, versitygw
from support.authority import Authority

pytestmark = pytest.mark.timeout(900)

ENTRIES = 10_000
SCRIPT = Path(acked.__file__).read_text()
SPEC = {"swarmId": "my-cluster", "storageSize": "1Gi", "backup": {}, "backupRetention": 2, "deletionPolicy": "Delete"}
SMS = f"swarmmemorystore/{STORE}"
COPY_DAMAGED = "the copy has another SHA-256 digest than the one that was written"

DAMAGE = """
import pathlib, sys
with pathlib.Path(sys.argv[1], "memory.db").open("r+b") as file:
    file.seek(20_000)
    file.write(b"damaged")
"""


def make(space: Space, kind: str, name: str, **spec: Any) -> None:
    body = {
        "apiVersion": "swarm.claudeflow.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    space.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def back_up(space: Space, name: str) -> None:
    make(space, "SwarmMemoryBackup", name, storeRef={"name": STORE})


def wait_ready(space: Space, *names: str) -> None:
    for name in names:
        space.kubectl("wait", "--for=condition=Ready", name, "--timeout=180s")


@contextlib.contextmanager
def writing(space: Space, pod: str) -> Iterator[list[int]]:
    """Write, from a pod, to the end of the block. Gives how many entries were acknowledged, batch by batch."""
    program = ["python3", "-c", SCRIPT, "write", f"http://{STORE}:8080", str(ENTRIES)]
    command = ["kubectl", "--context", CONTEXT, "-n", space.name, "exec", "-i", pod, "--", *program]
    counts = [0]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin
        reading = threading.Thread(target=lambda: counts.extend(map(int, writer.stdout or ())), daemon=True)
        reading.start()
        try:
            yield counts
        finally:
            writer.stdin.close()
            reading.join(30)


def in_memory(space: Space, script: str, *arguments: str) -> str:
    """Run a script in the memory's pod."""
    return space.kubectl("exec", f"{STORE}-0", "--", "python3", "-c", script, *arguments)


def check_memory(space: Space, least: int) -> None:
    """Check that the memory has what was written first, byte for byte, and at least so many entries of it."""
    found = json.loads(in_memory(space, SCRIPT, "read", "http://127.0.0.1:8080"))
    assert found["count"] >= least
    assert found["digest"] == acked.digest(found["count"])


def make_store(space: Space, **spec: Any) -> None:
    make(space, "SwarmMemoryStore", STORE, **SPEC | spec)


def delete_store(space: Space) -> None:
    """Delete it, and wait until nothing of it is left."""
    space.kubectl("delete", SMS)
    names = (f"statefulset/{STORE}", f"pod/{STORE}-0", f"pvc/{STORE}-data")
    eventually(lambda: not space.kubectl("get", *names, "-o", "name", "--ignore-not-found"), seconds=120)


def kill_job(space: Space, selector: str) -> None:
    """Kill the pod of a Job as soon as there is one."""

    def killed() -> bool:
        (name,) = space.kubectl("get", "pods", "-l", selector, "-o", "name").split()
        space.kubectl("delete", name, "--force", "--grace-period=0")
        return True

    eventually(killed)


def completed(space: Space, reason: str) -> list[dict[str, Any]]:
    """Return the completed backups of a reason, the newest last."""
    found = json.loads(space.kubectl("get", "smb", "-o", "json"))["items"]
    statuses = [item["status"] | {"name": item["metadata"]["name"]} for item in found if "status" in item]
    wanted = [status for status in statuses if (status["phase"], status["reason"]) == ("Completed", reason)]
    return sorted(wanted, key=lambda status: status["startedAt"])


@pytest.mark.usefixtures("operator_alone")
def test_a_store_made_from_a_backup_has_all_that_was_acknowledged_before_it(space):
    """Backups on demand and by schedule while an agent writes; pod, operator and Jobs are killed; one is damaged."""
    make_store(space, backupInterval="10s")
    wait_ready(space, SMS)
    space.start_agent()
    before: dict[str, int] = {}
    with writing(space, "agent") as counts:

        def ask(name: str) -> None:
            before[name] = counts[-1]
            back_up(space, name)

        eventually(lambda: counts[-1] >= ENTRIES, seconds=300)
        ask("undisturbed")
        wait_ready(space, "smb/undisturbed")
        eventually(lambda: counts[-1] > before["undisturbed"])
        ask("pod-killed")
        time.sleep(random.uniform(0, 1))  # the moment of the kill is what is random here
        kill_9(space.get(f"pod/{STORE}-0"))
        wait_ready(space, "smb/pod-killed")
        ask("operator-killed")
        time.sleep(random.uniform(0, 1))
        eventually(kill_operator)
        wait_ready(space, "smb/operator-killed")
        eventually(lambda: max(each["entries"] for each in completed(space, "Scheduled")) >= ENTRIES, seconds=120)
        make_store(space)  # without a schedule: the next backup is the newest
        ask("newest")
        wait_ready(space, "smb/newest")
    asked = {status["name"]: status for status in completed(space, "Requested")}
    assert asked.keys() == before.keys()
    for name, least in before.items():
        assert asked[name]["entries"] >= least
    in_memory(space, DAMAGE, "/backups/my-cluster/newest")
    delete_store(space)

    make_store(space, restoreFrom={"backupRef": {"name": "newest"}})

    def refused() -> bool:
        (restored,) = (c for c in space.get(SMS)["status"]["conditions"] if c["type"] == "Restored")
        wanted = ("False", "BackupDamaged", f"SwarmMemoryBackup newest: {COPY_DAMAGED}")
        assert (restored["status"], restored["reason"], restored["message"]) == wanted, restored
        return True

    eventually(refused, seconds=120)
    delete_store(space)

    make_store(space, restoreFrom={"backupRef": {"name": "operator-killed"}})
    kill_job(space, f"batch.kubernetes.io/job-name={STORE}-restore")
    wait_ready(space, SMS)
    assert space.get(SMS)["status"]["restoredFrom"]["backup"] == "operator-killed"
    check_memory(space, before["operator-killed"])
    delete_store(space)

    # No service is there that could delete it.
    space.kubectl("delete", "smb/undisturbed", "--wait=false")
    kill_job(space, "batch.kubernetes.io/job-name")
    space.kubectl("wait", "--for=delete", "smb/undisturbed", "--timeout=120s")


@pytest.fixture
def s3(tmp_path, space) -> Iterator[ObjectStore]:
    """S3 over HTTPS on this host, with the bucket and the region of examples/backups-s3.yaml."""
    host, authority = host_address(), Authority("minio", datetime.now(UTC))
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    certificate = authority.server(tmp_path / "server.pem", address=host)
    with versitygw(
        tmp_path, host=host, certificate=certificate, bucket="swarm-backups", region="eu-central-1"
    ) as server:
        yield server


def give_keys(space: Space, s3: ObjectStore, folder: Path) -> None:
    """Create the Secrets that the examples name."""
    literals = [f"--from-literal={name}={text}" for name, text in s3.credentials.items()]
    space.kubectl("create", "secret", "generic", "backup-keys", *literals)
    space.kubectl("create", "secret", "generic", "minio-ca", f"--from-file={folder / 'ca.crt'}")


def test_a_store_in_a_new_namespace_has_what_lay_in_s3_when_the_old_one_was_deleted(space, s3, tmp_path):
    example = (TOP / "examples/backups-s3.yaml").read_text()
    endpoint = str(s3.options["endpoint"])
    give_keys(space, s3, tmp_path)
    space.kubectl("apply", "-f", "-", stdin=example.replace("https://minio.example.com:9000", endpoint))
    space.kubectl("wait", "--for=create", SMS, "--timeout=60s")
    wait_ready(space, SMS)
    with writing(space, f"{STORE}-0") as counts:
        eventually(lambda: counts[-1] >= ENTRIES, seconds=300)
        acknowledged = counts[-1]
        space.kubectl("create", "-f", "examples/backup.yaml")
        wait_ready(space, "smb/before-the-experiment")
    status = space.get("smb/before-the-experiment")["status"]
    assert status["location"] == "s3://swarm-backups/production/my-cluster/before-the-experiment"
    kubectl("delete", "namespace", space.name, "--timeout=150s")
    with new_space() as other:
        give_keys(other, s3, tmp_path)
        store = yaml.safe_load(example)["spec"]["memory"]["sqliteConfig"]["backup"]["objectStore"]
        make_store(
            other,
            backup={"objectStore": store | {"endpoint": endpoint}},
            restoreFrom={"location": status["location"]},
        )
        wait_ready(other, SMS)
        check_memory(other, acknowledged)
        for text in (other.kubectl("logs", f"{STORE}-0"), other.kubectl("get", "sms,smb,job,pod,event", "-o", "yaml")):
            assert SECRET not in text
