"""What the API server refuses, and what it fills in. `kubectl apply` is the judge: its message is what users read."""

from __future__ import annotations

import pytest
import yaml
from support.controlplane import TOP

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.errors import InvalidError

EXAMPLES = TOP / "examples"


def manifest(kind: str, name: str, spec: dict, namespace: str) -> str:
    body = {"apiVersion": "swarm.claudeflow.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    body["metadata"]["namespace"] = namespace
    return yaml.safe_dump(body)


REFUSED = {
    "unknown type": ({"type": "redis"}, ["spec.type", '"sqlite"']),
    "size that is no quantity": ({"storageSize": "lots"}, ["spec.storageSize", "must be a quantity", "10Gi"]),
    "size of zero": ({"storageSize": "0"}, ["spec.storageSize", "greater than zero"]),
    "size beyond what quantities hold": ({"storageSize": "8Ei"}, ["spec.storageSize", "less than 8Ei"]),
    "negative size": ({"storageSize": "-1Gi"}, ["spec.storageSize", "should match"]),
    "interval that is no duration": ({"gcInterval": "soon"}, ["spec.gcInterval", "must be a duration", "5m"]),
    "interval below a second": ({"gcInterval": "10ms"}, ["spec.gcInterval", "at least one second"]),
    "unknown language": ({"searchLanguage": "welsh"}, ["spec.searchLanguage", '"none", "english"']),
    "cache of no entries": ({"cacheSize": 0}, ["spec.cacheSize", "greater than or equal to 1"]),
    "cache size of the wrong type": ({"cacheSize": "many"}, ["spec.cacheSize", "must be of type integer"]),
    "unknown field": ({"cachesize": 5}, ["unknown field", "spec.cachesize"]),
    "migration without a source": ({"migrateFromLegacy": True}, ["spec.legacyDataPVC", "is required when"]),
    "cron expression of six fields": ({"backupSchedule": "0 0 3 * * *"}, ["spec.backupSchedule", "of five fields"]),
    "interval and cron expression": (
        {"backupSchedule": "0 3 * * *", "backupInterval": "1h"},
        ["spec.backupSchedule", "cannot be given with backupInterval"],
    ),
    "backups in two places": (
        {"backup": {"volume": {}, "objectStore": {"url": "s3://b"}}},
        ["spec.backup.objectStore", "cannot be given with volume"],
    ),
    "object store that is none": (
        {"backup": {"objectStore": {"url": "ftp://b"}}},
        ["spec.backup.objectStore.url", "must be s3://BUCKET/PREFIX"],
    ),
    "endpoint that is no URL": (
        {"backup": {"objectStore": {"url": "s3://b", "endpoint": "minio:9000"}}},
        ["spec.backup.objectStore.endpoint", "must be http://HOST:PORT"],
    ),
    "embedder without its endpoint": (
        {"embedder": {"mode": "http", "model": "m", "width": 3}},
        ["spec.embedder.url", "must be given with mode http, and only then"],
    ),
    "embedder with an endpoint that has no use": (
        {"embedder": {"mode": "static", "url": "https://h/v1"}},
        ["spec.embedder.url", "must be given with mode http, and only then"],
    ),
    "embedder with a key that has no use": (
        {"embedder": {"mode": "static", "secretRef": {"name": "keys"}}},
        ["spec.embedder.secretRef", "can be given with mode http only"],
    ),
    "embedder with a key in its URL": (
        {"embedder": {"mode": "http", "url": "https://user:key@h/v1", "model": "m", "width": 3}},
        ["spec.embedder.url", "without user, query and fragment"],
    ),
    "embedder that waits too long": (
        {"embedder": {"mode": "http", "url": "https://h/v1", "model": "m", "width": 3, "timeout": "6m"}},
        ["spec.embedder.timeout", "must be at most 300s"],
    ),
    "restoring from nothing": ({"restoreFrom": {}}, ["spec.restoreFrom", "must have exactly one of"]),
    "restoring from two": (
        {"restoreFrom": {"backupRef": {"name": "b"}, "location": "s3://b/s/n"}},
        ["spec.restoreFrom", "must have exactly one of backupRef, storeRef and location"],
    ),
    "restoring from itself": (
        {"restoreFrom": {"storeRef": {"name": "bad"}}},
        ["spec.restoreFrom.storeRef.name", "must be another store", "backupRef"],
    ),
    "restoring from no location": (
        {"restoreFrom": {"location": "/backups/s/b"}},
        ["spec.restoreFrom.location", "must be the location of a backup", "file:///backups/SWARM/NAME"],
    ),
    "restoring from a location that is not there": (
        {"restoreFrom": {"location": "s3://b/s/n", "destination": {"claimName": "c"}}},
        ["spec.restoreFrom.location", "must begin with the URL of destination.objectStore"],
    ),
    "a destination of a backup object": (
        {"restoreFrom": {"backupRef": {"name": "b"}, "destination": {"claimName": "c"}}},
        ["spec.restoreFrom.destination", "can be given with location only"],
    ),
    "swarm id with a space": ({"swarmId": "my swarm"}, ["spec.swarmId", "should match"]),
}


@pytest.mark.parametrize(("spec", "said"), REFUSED.values(), ids=REFUSED)
async def test_a_bad_store_is_refused_by_field_with_what_is_allowed(control_plane, objects, spec, said):
    text = manifest("SwarmMemoryStore", "bad", spec, objects.namespace)
    applied = control_plane.kubectl_run("apply", "-f", "-", stdin=text)
    assert applied.returncode == 1
    for part in said:
        assert part in applied.stderr
    assert await objects.missing(kinds.SWARM_MEMORY_STORE, "bad")


CHANGES = {
    "shrinking": ({"storageSize": "10Gi"}, {"storageSize": "5Gi"}, ["spec.storageSize", "can only grow"]),
    "other swarm": ({"swarmId": "a"}, {"swarmId": "b"}, ["spec.swarmId", "cannot be changed"]),
    "swarm set late": ({}, {"swarmId": "other"}, ["spec.swarmId", "cannot be changed"]),
    "other type": ({}, {"type": "etcd"}, ["spec.type", '"sqlite"']),
    "other class": ({"storageClass": "a"}, {"storageClass": "b"}, ["spec.storageClass", "cannot be changed"]),
    "other class of backups": (
        {"backup": {"volume": {"storageClassName": "a"}}},
        {"backup": {"volume": {"storageClassName": "b"}}},
        ["spec.backup.volume.storageClassName", "cannot be changed"],
    ),
    "other backup to restore": (
        {"restoreFrom": {"backupRef": {"name": "a"}}},
        {"restoreFrom": {"backupRef": {"name": "b"}}},
        ["spec.restoreFrom", "cannot be changed", "SwarmMemoryRestore"],
    ),
    "backup to restore set late": ({}, {"restoreFrom": {"storeRef": {"name": "a"}}}, ["spec.restoreFrom", "cannot be"]),
    "backup to restore removed": ({"restoreFrom": {"storeRef": {"name": "a"}}}, {}, ["spec.restoreFrom", "cannot be"]),
    "class set late": ({}, {"storageClass": "b"}, ["spec.storageClass", "cannot be changed"]),
}


@pytest.mark.parametrize(("before", "after", "said"), CHANGES.values(), ids=CHANGES)
async def test_a_forbidden_change_is_refused_and_changes_nothing(control_plane, objects, before, after, said):
    created = control_plane.kubectl_run(
        "apply", "-f", "-", stdin=manifest("SwarmMemoryStore", "s", before, objects.namespace)
    )
    assert created.returncode == 0, created.stderr
    stored = await objects.get(kinds.SWARM_MEMORY_STORE, "s")
    changed = control_plane.kubectl_run(
        "apply", "-f", "-", stdin=manifest("SwarmMemoryStore", "s", after, objects.namespace)
    )
    assert changed.returncode == 1
    for part in said:
        assert part in changed.stderr
    assert await objects.get(kinds.SWARM_MEMORY_STORE, "s") == stored


async def test_a_swarm_id_equal_to_the_name_may_be_spelled_out_later(objects):
    await objects.store("s")
    await objects.store("s", swarmId="s")


async def test_storage_may_grow_in_any_unit(objects):
    await objects.store("s", storageSize="1Gi")
    await objects.store("s", storageSize="2000M")
    await objects.store("s", storageSize="1.5Ti")


@pytest.mark.parametrize("name", ["9lives", "a.b", "a" * 53])
async def test_a_store_that_no_service_could_be_named_after_is_refused(control_plane, objects, name):
    text = manifest("SwarmMemoryStore", name, {}, objects.namespace)
    applied = control_plane.kubectl_run("apply", "-f", "-", stdin=text)
    assert applied.returncode == 1
    assert "at most 52 characters" in applied.stderr


async def test_an_empty_store_gets_the_documented_defaults(objects):
    spec = (await objects.store("s"))["spec"]
    assert spec == {
        "type": "sqlite",
        "storageSize": "10Gi",
        "cacheSize": 1000,
        "cacheMemoryMB": 50,
        "compressionThreshold": 10240,
        "gcInterval": "5m",
        "backupTimeZone": "UTC",
        "backupRetention": 7,
        "migrateFromLegacy": False,
        "onVolumeLoss": "Stop",
        "logLevel": "info",
        "searchLanguage": "none",
        "mcpMode": True,
        "enableDisruptionBudget": True,
        "enableWAL": True,
        "enableVacuum": True,
        "updateStrategy": "Rolling",
        "upgradeDeadline": "10m",
        "hibernated": False,
        "paused": False,
    }


CLUSTER_REFUSED = {
    "unknown type": ({"type": "etcd"}, ["spec.memory.type", '"sqlite"']),
    "bad size": ({"size": "big"}, ["spec.memory.size", "must be a quantity"]),
    "bad cache": ({"sqliteConfig": {"cacheSize": 0}}, ["spec.memory.sqliteConfig.cacheSize"]),
    "bad interval": ({"sqliteConfig": {"backupInterval": "daily"}}, ["spec.memory.sqliteConfig.backupInterval"]),
    "restoring the swarm's memory from itself": (
        {"restoreFrom": {"storeRef": {"name": "bad-memory"}}},
        ["spec.memory.restoreFrom.storeRef.name", "must be another store"],
    ),
    "migration without a source": ({"migrateFromLegacy": True}, ["spec.memory.legacyDataPVC", "is required when"]),
    "a store that does not persist": (
        {"persistence": False, "enableMemoryStore": True},
        ["spec.memory.persistence", "must be true when enableMemoryStore is true"],
    ),
}


AGENTS_REFUSED = [
    ({"minAgents": 3, "maxAgents": 2}, "spec.minAgents: .*must be at most maxAgents"),
    ({"agents": 101}, "spec.agents: .*less than or equal to 100"),
    ({"agents": -1}, "spec.agents: .*greater than or equal to 0"),
    ({"topology": "line"}, "spec.topology: Unsupported value"),
    ({"autoscaling": {"enabled": True}}, "spec.autoscaling.maxAgents: .*is required when enabled is true"),
    ({"minAgents": 3, "autoscaling": {"minAgents": 2}}, "spec.autoscaling.minAgents: .*at least minAgents"),
    ({"maxAgents": 3, "autoscaling": {"maxAgents": 4}}, "spec.autoscaling.maxAgents: .*at most maxAgents"),
    ({"autoscaling": {"minAgents": 3, "maxAgents": 2}}, "spec.autoscaling.minAgents: .*at most maxAgents"),
    ({"maxAgents": 2, "autoscaling": {"minAgents": 3}}, "spec.autoscaling.minAgents: .*at most maxAgents"),
    ({"minAgents": 3, "autoscaling": {"maxAgents": 2}}, "spec.autoscaling.maxAgents: .*at least minAgents"),
    ({"autoscaling": {"stabilizationWindow": "61m"}}, "spec.autoscaling.stabilizationWindow: .*at most 1h"),
    ({"autoscaling": {"stabilizationWindow": "soon"}}, "spec.autoscaling.stabilizationWindow: .*should match"),
    ({"agentTemplate": {"terminationGracePeriod": "25h"}}, "terminationGracePeriod: .*at most 24h"),
    ({"agentTemplate": {"env": [{"name": "AGENT_ID", "value": "x"}]}}, r"env\[0\].name: .*is set by the operator"),
    ({"agentTemplate": {"env": [{"name": "A", "value": "x", "valueFrom": {}}]}}, "valueFrom: .*cannot be given with"),
    ({"agentTemplate": {"capabilities": ["a,b"]}}, r"capabilities\[0\]: .*should match"),
    ({"agentTemplate": {"command": []}}, "command: .*at least 1 item"),
]


async def test_agents_that_cannot_be_are_refused_by_field_with_what_is_allowed(objects):
    for spec, said in AGENTS_REFUSED:
        with pytest.raises(InvalidError, match=said):
            await objects.apply(kinds.SWARM_CLUSTER, "bad", spec)
    most = {"minAgents": 100, "agents": 100, "maxAgents": 100, "agentTemplate": {"terminationGracePeriod": "24h"}}
    await objects.apply(kinds.SWARM_CLUSTER, "good", most)


@pytest.mark.parametrize(("memory", "said"), CLUSTER_REFUSED.values(), ids=CLUSTER_REFUSED)
async def test_a_bad_cluster_is_refused_by_field_with_what_is_allowed(control_plane, objects, memory, said):
    text = manifest("SwarmCluster", "bad", {"memory": memory}, objects.namespace)
    applied = control_plane.kubectl_run("apply", "-f", "-", stdin=text)
    assert applied.returncode == 1
    for part in said:
        assert part in applied.stderr
    assert await objects.missing(kinds.SWARM_CLUSTER, "bad")


async def test_a_cluster_without_a_spec_gets_a_memory_of_type_sqlite(control_plane, objects):
    text = yaml.safe_dump(
        {
            "apiVersion": "swarm.claudeflow.io/v1alpha1",
            "kind": "SwarmCluster",
            "metadata": {"name": "bare", "namespace": objects.namespace},
        }
    )
    applied = control_plane.kubectl_run("apply", "-f", "-", stdin=text)
    assert applied.returncode == 0, applied.stderr
    memory = (await objects.get(kinds.SWARM_CLUSTER, "bare"))["spec"]["memory"]
    assert memory == {
        "type": "sqlite",
        "size": "10Gi",
        "persistence": True,
        "enableMemoryStore": False,
        "migrateFromLegacy": False,
    }


async def test_the_backup_of_a_swarm_is_not_changed_later(control_plane, objects):
    for name, code in (("a", 0), ("b", 1)):
        spec = {"memory": {"enableMemoryStore": True, "restoreFrom": {"backupRef": {"name": name}}}}
        applied = control_plane.kubectl_run(
            "apply", "-f", "-", stdin=manifest("SwarmCluster", "c", spec, objects.namespace)
        )
        assert applied.returncode == code
    assert "spec.memory.restoreFrom: Invalid value" in applied.stderr
    assert "cannot be changed" in applied.stderr


async def test_a_backup_needs_a_store_and_cannot_be_changed(control_plane, objects):
    def apply(spec: dict):
        text = manifest("SwarmMemoryBackup", "b", spec, objects.namespace)
        return control_plane.kubectl_run("apply", "-f", "-", stdin=text)

    refused = apply({})
    assert refused.returncode == 1
    assert "spec.storeRef: Required value" in refused.stderr
    both = apply({"storeRef": {"name": "s"}, "destination": {"claimName": "c", "objectStore": {"url": "s3://b"}}})
    assert "must have either claimName or objectStore" in both.stderr
    assert apply({"storeRef": {"name": "s"}}).returncode == 0
    changed = apply({"storeRef": {"name": "other"}})
    assert changed.returncode == 1
    assert "cannot be changed: create another SwarmMemoryBackup" in changed.stderr
    added = apply({"storeRef": {"name": "s"}, "destination": {"claimName": "c"}})
    assert "cannot be changed" in added.stderr


BOTH = {"backupRef": {"name": "b"}, "location": "s3://b/s/n"}
RESTORES_REFUSED = [
    *(({"from": source}, "spec.from: .*must have either backupRef or location") for source in ({}, BOTH)),
    *(
        ({"from": {"location": location}}, "spec.from.location: .*must be the URL of a backup, such as s3://")
        for location in ("monday", "ftp://h/s/n", "s3://b", "s3://k@b/s/n?x", "file:///n", "/backups/s/n")
    ),
    *(({"namespaces": names}, "spec.namespaces") for names in ([], ["a", "a"], [""], ["a" * 256])),
    ({"namespaces": ["\u00e4" * 128]}, "spec.namespaces.*must have at most 255 bytes"),
    *(({"keyPrefix": prefix}, "spec.keyPrefix") for prefix in ("", "a" * 1025)),
    ({"keyPrefix": "\u00e4" * 513}, "spec.keyPrefix: .*must have at most 1024 bytes"),
]


async def test_a_restore_needs_a_store_and_one_backup_and_cannot_be_changed(control_plane, objects):
    kind, valid = kinds.SWARM_MEMORY_RESTORE, {"storeRef": {"name": "s"}, "from": {"backupRef": {"name": "b"}}}
    text = manifest("SwarmMemoryRestore", "r", {}, objects.namespace)
    body = yaml.safe_load(text)
    nothing = control_plane.kubectl_run("apply", "-f", "-", stdin=text)
    for field in ("storeRef", "from"):
        assert f"spec.{field}: Required value" in nothing.stderr
    for spec, said in RESTORES_REFUSED:
        with pytest.raises(InvalidError, match=said):
            await objects.client.create(kind, body | {"spec": valid | spec}, field_manager="user")
    for number, location in enumerate(("file:///backups/s/n", "az://c/p/s=40x/n.1")):
        await objects.apply(kind, f"accepted-{number}", valid | {"from": {"location": location}})
    part = valid | {"namespaces": ["b", "a"], "keyPrefix": "task:"}
    await objects.apply(kind, "r", part)
    for change in ({"dryRun": True}, {"namespaces": ["a"]}, {"keyPrefix": "t"}, {"storeRef": {"name": "other"}}):
        with pytest.raises(InvalidError, match=r"spec: .*cannot be changed: create another SwarmMemoryRestore"):
            await objects.apply(kind, "r", part | change)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
async def test_the_examples_are_accepted(control_plane, objects, path):
    applied = control_plane.kubectl_run("apply", "-n", objects.namespace, "-f", "-", stdin=path.read_text())
    assert (applied.returncode, applied.stderr) == (0, "")


_POD_TEMPLATE = {"metadata": {"labels": {"team": "bees"}}, "spec": {"nodeSelector": {"disk": "ssd"}}}


@pytest.mark.parametrize(
    ("resource", "full", "left"),
    [
        (kinds.SWARM_CLUSTER, {"memory": {"sqliteConfig": {"cacheSize": 5}}}, {"memory": {"sqliteConfig": {}}}),
        (kinds.SWARM_MEMORY_STORE, {"backup": {"volume": {"size": "2Gi"}}}, {"backup": {}}),
        (kinds.SWARM_MEMORY_STORE, {"backup": {"volume": {"size": "2Gi"}}}, {"backup": {"volume": {}}}),
        (kinds.SWARM_MEMORY_STORE, {"networkPolicy": {"from": []}}, {"networkPolicy": {}}),
        (kinds.SWARM_MEMORY_STORE, {"podTemplate": _POD_TEMPLATE}, {"podTemplate": {}}),
        (kinds.SWARM_MEMORY_STORE, {"podTemplate": _POD_TEMPLATE}, {"podTemplate": {"metadata": {}}}),
        (kinds.SWARM_MEMORY_STORE, {"podTemplate": _POD_TEMPLATE}, {}),
    ],
)
async def test_server_side_apply_takes_all_fields_of_an_object_away(objects, resource, full, left):
    """It would leave null of the object, which the API server then refuses."""
    await objects.apply(resource, "emptied", full)
    stored = await objects.apply(resource, "emptied", left)
    ((field, value),) = left.items() or [("podTemplate", None)]
    found = stored["spec"].get(field)
    assert (found if value is None else {name: found[name] for name in value}) == value
