"""`swarm-memory restore` and `restores`, against a real service."""

import json
import os
import subprocess
import sys

import pytest

from swarm_operator.memory.client import SyncMemoryClient

PROGRAM = [sys.executable, "-m", "swarm_operator.cmd.memory"]


@pytest.fixture
def service(tmp_path, monkeypatch, serve):
    """A service on tmp_path/data with a destination, where the commands look for its tokens by themselves."""
    for name in ("SWARM_MEMORY_TOKEN_FILE", "SWARM_MEMORY_ADMIN_TOKEN_FILE", "SWARM_MEMORY_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vault").mkdir()
    monkeypatch.setenv("SWARM_MEMORY_URL", serve("--grpc-port", "off", "--backups", f"file://{tmp_path}/vault"))


def run(*arguments, code=0):
    done = subprocess.run([*PROGRAM, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == code, (done.stdout, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_backup_is_restored_in_part_and_whole(service, tmp_path):
    token = (tmp_path / "data" / "tokens" / "admin-token").read_text().strip()
    with SyncMemoryClient(os.environ["SWARM_MEMORY_URL"], token=token) as admin:

        def put(value):
            for namespace in ("a", "b"):
                admin.put(namespace, "k", value)

        put("old")
        location = f"file://{tmp_path}/vault/default"
        (failed,), error = run("restore", f"{location}/none", code=1)
        assert failed["problem"]["code"] == "destination-missing"
        assert "destination-missing" in error
        admin.backups.make("monday")
        assert admin.backups.wait("monday").phase == "Completed"
        put("new")
        (plan,), _ = run("restore", "monday", "--namespaces", "a", "--dry-run", "--name", "plan")
        assert (plan["name"], plan["dry_run"], plan["plan"]["entries_changed"]) == ("plan", True, 1)
        (part,), _ = run("restore", "monday", "--namespaces", "a", "--key-prefix", "k")
        assert (part["phase"], part["namespaces"], part["key_prefix"]) == ("Completed", ["a"], "k")
        assert [admin.get(name, "k").value for name in ("a", "b")] == ["old", "new"]
        (whole,), _ = run("restore", f"{location}/monday")
        assert whole["safety_backup"].startswith("restore-")
        assert [admin.get(name, "k").value for name in ("a", "b")] == ["old", "old"]
        listed, _ = run("restores")
        assert [each["phase"] for each in listed] == ["Failed", "Completed", "Completed", "Completed"]
