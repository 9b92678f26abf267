"""Legacy memory that lies on a claim comes into a swarm, as docs/migration.md says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e.cluster import eventually
from e2e.test_pages import shell  # noqa: F401 - a fixture
from support import legacy
from support.page_runs import to_run
from support.shell import check, checkout

pytestmark = pytest.mark.timeout(900)

FILL = (
    Path(legacy.__file__).read_text()
    + """

import pathlib

root = pathlib.Path("/legacy")
for name, make in SHAPES.items():
    make(root / name)
(root / "truncated.json").write_bytes(b'{"n": [{"key": "before the cut", "value": 1}, {"key": "cut off", "val')
(root / "garbage.db").write_bytes(bytes(range(256)) * 100)
(root / "empty.json").touch()
(root / "outside.json").symlink_to("/etc/passwd")
(root / "private.json").write_text('[{"key": "k", "value": 1}]')
(root / "private.json").chmod(0)
"""
)
"""Makes files of every shape, and what can't be read; run in a pod that has the claim."""


def claim(name: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def writer(name: str, program: str) -> dict[str, Any]:
    """Return a pod of another user than the Job's that fills a claim."""
    container = {
        "name": "writer",
        "image": "swarm-memory:dev",
        "command": ["python3", "-c", program],
        "volumeMounts": [{"name": "legacy", "mountPath": "/legacy"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "legacy", "persistentVolumeClaim": {"claimName": name}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "writer"}, "spec": spec}


async def test_a_swarm_takes_over_what_lies_on_a_claim(space, shell, tmp_path):  # noqa: F811
    for body in (claim("legacy-memory"), writer("legacy-memory", FILL)):
        space.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    space.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/writer", "--timeout=180s")
    commands = to_run("docs/migration.md", __file__)
    texts = await check(commands, checkout(tmp_path), seconds=800, **shell)
    report = json.loads(next(text for text in texts if '"complete": true' in text))
    status = space.get("swarmmemorystore/my-cluster-memory")["status"]
    assert status["migrationCompleted"]
    assert status["phase"] == "Ready"
    numbers, kinds = status["migration"], report["kinds"]
    for field, kind in (("agents", "agent"), ("tasks", "task"), ("patterns", "pattern"), ("consensus", "consensus")):
        assert numbers[field] == kinds[kind]["created"] + kinds[kind]["unchanged"] > 0, field
    assert numbers["entries"] > 10
    assert numbers["quarantined"] == report["totals"]["quarantined"] >= 3
    reasons = {source["source"]: source["reasons"] for source in report["sources"] if source["reasons"]}
    assert reasons["truncated.json"] == {"truncated": 1}
    assert reasons["garbage.db"] == {"not-a-database": 1}
    assert reasons["private.json"] == {"unreadable": 1}
    ignored = {file["source"]: file["reason"] for file in report["ignored"]["files"]}
    assert (ignored["outside.json"], ignored["empty.json"]) == ("symlink", "empty")
    space.kubectl("wait", "--for=condition=Ready", "swarmcluster/my-cluster", "--timeout=60s")
    eventually(lambda: space.get("swarmcluster/my-cluster")["status"]["memoryStatus"]["available"])
    space.start_agent()
    assert space.memory("get", "n", "before the cut")["value"] == 1
    eventually(lambda: space.get("swarmmemorystore/my-cluster-memory")["status"]["taskCount"] == numbers["tasks"])
    # The page's last command asks for another try: a migration that is completed is not run again.
    jobs = json.loads(space.kubectl("get", "jobs", "-o", "json"))["items"]
    assert [job["metadata"]["name"] for job in jobs] == [numbers["job"]]
