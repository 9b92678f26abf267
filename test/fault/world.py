"""A namespace in which scenarios happen, and the scenarios that faults are tried on."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object, Resource, owner_reference

WATCHED = (
    kinds.SWARM_CLUSTER,
    kinds.SWARM_MEMORY_STORE,
    kinds.PERSISTENT_VOLUME_CLAIM,
    kinds.SECRET,
    kinds.SERVICE,
    kinds.STATEFUL_SET,
    kinds.CONFIG_MAP,
    kinds.NETWORK_POLICY,
    kinds.POD_DISRUPTION_BUDGET,
    kinds.SERVICE_ACCOUNT,
    kinds.HORIZONTAL_POD_AUTOSCALER,
)

STORAGE_CLASSES = Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", namespaced=False)
EXPANDABLE = "expandable"
"""A class whose volumes may grow."""

QUIET = (
    *("--metrics-bind-address", "0", "--health-probe-bind-address", "0"),
    # Nobody serves the memory here: an address that refuses at once.
    *("--memory-url", "http://127.0.0.1:9"),
    # What is killed ends at once.
    *("--graceful-shutdown-timeout", "0"),
)


@dataclass
class World:
    """A namespace in which scenarios happen."""

    plane: object
    admin: Client
    namespace: str
    others: tuple[str, ...] = ()
    """Namespaces that its cluster has besides."""
    kept: dict[str, str] = field(default_factory=dict)
    """What a step keeps for the next ones."""
    keys: list[Object] = field(default_factory=list)
    """Keys of tokens that the API server serves besides its own."""

    @property
    def watched(self) -> str:
        """The operator's `--watch-namespaces`."""
        return ",".join((self.namespace, *self.others))

    def at(self, namespace: str) -> World:
        """Return the part of it that is in one namespace."""
        return World(self.plane, self.admin, namespace)

    async def list(self, resource: Resource) -> list[Object]:
        """Return the objects of a kind in all its namespaces."""
        return [
            obj
            for namespace in (self.namespace, *self.others)
            for obj in (await self.admin.list(resource, namespace=namespace))[0]
        ]

    def name_of(self, obj: Object) -> str:
        """Return the name of an object, with its namespace if that is another than the cluster's."""
        metadata = obj["metadata"]
        apart = metadata["namespace"].removeprefix(self.namespace).removeprefix("-")
        return "/".join(filter(None, (apart, metadata["name"])))

    async def cluster(self, *, spec: Object | None = None, **memory: object) -> None:
        body = {
            "apiVersion": kinds.SWARM_CLUSTER.api_version,
            "kind": "SwarmCluster",
            "metadata": {"name": "c", "namespace": self.namespace},
            "spec": {"memory": {"enableMemoryStore": True, "deletionPolicy": "Delete", **memory}, **(spec or {})},
        }
        await self.admin.apply(kinds.SWARM_CLUSTER, body, field_manager="user")

    async def get(self, resource: Resource, name: str) -> Object:
        return await self.admin.get(resource, self.namespace, name)

    async def status(self, resource: Resource, name: str, status: Object) -> None:
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "status": status,
        }
        await self.admin.apply(resource, body, field_manager="kubelet", subresource="status")

    async def settled(self) -> bool:
        """Whether the operator has judged the newest specs, and the cluster says what its store says."""
        store = await self.settled_store()
        cluster = await self.get(kinds.SWARM_CLUSTER, "c")
        assert cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"]
        ready = [c for c in store["status"]["conditions"] if c["type"] == "Ready"]
        theirs = [c for c in cluster["status"]["conditions"] if c["type"] == "Ready"]
        assert theirs[0]["reason"] == ready[0]["reason"]
        assert cluster["status"]["memoryStatus"]["available"] == (ready[0]["status"] == "True")
        return True

    async def settled_store(self, name: str = "c-memory") -> Object:
        """Return a store once the operator has judged its newest spec, and has found that its service is away."""
        store = await self.get(kinds.SWARM_MEMORY_STORE, name)
        assert store["status"]["observedGeneration"] == store["metadata"]["generation"]
        conditions = {c["type"]: c for c in store["status"]["conditions"]}
        away = "NoAnswer" if conditions["Ready"]["status"] == "True" else "PodNotReady"
        assert conditions["Reachable"]["reason"] == away
        assert conditions["IdentityReady"]["reason"] not in {"RequestFailed", "KeysStale"}
        return store

    async def collect_garbage(self) -> None:
        """Be the controllers that delete what no owner is left of, and claims that no pod uses."""
        uids = set((await self.uids()).values())
        for resource in WATCHED:
            for obj in await self.list(resource):
                metadata = obj["metadata"]
                owners = metadata.get("ownerReferences", ())
                if "foregroundDeletion" in metadata.get("finalizers", ()):
                    await self._let_go(resource, obj)
                elif owners and not uids.intersection(owner["uid"] for owner in owners):
                    with contextlib.suppress(NotFoundError):
                        await self.admin.delete(resource, metadata["namespace"], metadata["name"], uid=metadata["uid"])
        for claim in await self.list(kinds.PERSISTENT_VOLUME_CLAIM):
            if claim["metadata"].get("deletionTimestamp"):
                await self._let_go(kinds.PERSISTENT_VOLUME_CLAIM, claim)

    async def _let_go(self, resource: Resource, obj: Object) -> None:
        """Take all finalizers away."""
        metadata, patch = obj["metadata"], {"metadata": {"finalizers": []}}
        with contextlib.suppress(NotFoundError):
            await self.admin.merge(
                resource, metadata["namespace"], metadata["name"], patch, field_manager="controllers"
            )

    async def uids(self) -> dict[tuple[str, str], str]:
        found = {}
        for resource in WATCHED:
            for obj in await self.list(resource):
                found[resource.kind, self.name_of(obj)] = obj["metadata"]["uid"]
        return found

    async def picture(self) -> dict[str, object]:
        """Everything that should be the same after any history, with what differs from run to run masked."""
        found = {}
        for resource in WATCHED:
            for obj in await self.list(resource):
                found[f"{resource.kind}/{self.name_of(obj)}"] = masked(obj, self.namespace)
        return found


def _judged(condition: dict[str, object]) -> dict[str, object]:
    """Leave out when a condition was judged that is Unknown: it may be kept from a pass before."""
    unknown = condition["status"] == "Unknown"
    return {name: value for name, value in condition.items() if not (unknown and name == "observedGeneration")}


def masked(value: object, namespace: str) -> object:
    """An object without what differs from run to run; `namespace`, or a name that differs, becomes a constant."""
    volatile = {
        "uid",
        "claimUID",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "lastTransitionTime",
        "lastScaleTime",
        "swarm.claudeflow.io/scaled-at",
        "swarm.claudeflow.io/cluster-uid",
        "clusterIP",
        "clusterIPs",
        "nextBackup",
        "swarm.claudeflow.io/autogrown",
        # The hash covers the owner's uid.
        "swarm.claudeflow.io/applied-configuration",
        "deletionTimestamp",
    }
    if isinstance(value, dict):
        if value.get("kind") == "Secret":
            return sorted(value["data"])
        parts = {name: masked(part, namespace) for name, part in value.items() if name not in volatile}
        if "conditions" in parts:
            # A map by their type: where one stands says nothing.
            parts["conditions"] = sorted(map(_judged, parts["conditions"]), key=lambda condition: condition["type"])
        return parts
    if isinstance(value, list):
        return [masked(part, namespace) for part in value]
    if not isinstance(value, str):
        return value
    value = re.sub(r"-----BEGIN CERTIFICATE-----[^-]*-----END", "CERTIFICATE", value)
    value = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", value.replace(namespace, "NAMESPACE"))
    # A final backup and the Job of a migration have a hash of their store's uid in their names.
    return re.sub(r"-(final|migrate)-[0-9a-f]{10}", r"-\1-HASH", value)


async def create(world: World) -> None:
    """A user makes a cluster with a store."""
    await world.cluster(size="1Gi", sqliteConfig={"cacheSize": 5})


async def change(world: World) -> None:
    """A user changes one setting and takes another back."""
    await world.cluster(size="1Gi", sqliteConfig={"cacheMemoryMB": 77})


async def become_ready(world: World, name: str = "c-memory") -> None:
    """The volume of a store is bound and its pod gets ready."""
    claim, chosen = kinds.PERSISTENT_VOLUME_CLAIM, {"spec": {"storageClassName": EXPANDABLE}}
    await world.admin.merge(claim, world.namespace, f"{name}-data", chosen, field_manager="kubelet")
    await world.status(claim, f"{name}-data", {"phase": "Bound"})
    generation = (await world.get(kinds.STATEFUL_SET, name))["metadata"]["generation"]
    ready = {"replicas": 1, "readyReplicas": 1, "currentRevision": "r", "updateRevision": "r"}
    await world.status(kinds.STATEFUL_SET, name, {"observedGeneration": generation, **ready})


async def resize(world: World) -> None:
    """A user wants a larger volume."""
    await world.cluster(size="2Gi", sqliteConfig={"cacheMemoryMB": 77})


async def fill(world: World) -> None:
    """The volume is nearly full, as was last known, and may grow by itself."""
    await world.status(kinds.SWARM_MEMORY_STORE, "c-memory", {"volumeUsedPercent": 95})
    await world.cluster(size="2Gi", sqliteConfig={"cacheMemoryMB": 77}, autogrow={"max": "4Gi"})


async def delete(world: World) -> None:
    """A user deletes the cluster."""
    uid = (await world.get(kinds.SWARM_CLUSTER, "c"))["metadata"]["uid"]
    await world.admin.delete(kinds.SWARM_CLUSTER, world.namespace, "c", uid=uid)


async def has_settings(world: World) -> bool:
    settings = (await world.get(kinds.CONFIG_MAP, "c-memory-settings"))["data"]
    assert (settings["CACHE_SIZE"], settings["CACHE_MEMORY_MB"]) == ("1000", "77")
    (container,) = (await world.get(kinds.STATEFUL_SET, "c-memory"))["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["memory"] == "269Mi"
    return await world.settled()


async def is_ready(world: World) -> bool:
    assert (await world.get(kinds.SWARM_CLUSTER, "c"))["status"]["phase"] == "Ready"
    return await world.settled()


async def has_grown(world: World) -> bool:
    claim = await world.get(kinds.PERSISTENT_VOLUME_CLAIM, "c-memory-data")
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    return await world.settled()


async def has_grown_by_itself(world: World) -> bool:
    claim = await world.get(kinds.PERSISTENT_VOLUME_CLAIM, "c-memory-data")
    assert claim["spec"]["resources"]["requests"]["storage"] == "2458Mi", "by a fifth, once"
    return await world.settled()


async def is_gone(world: World) -> bool:
    await world.collect_garbage()
    return not await world.uids()


async def create_backed_up(world: World) -> None:
    """A user makes a cluster whose data is backed up before it is deleted."""
    await world.cluster(size="1Gi", deletionPolicy="Backup")


async def delete_all(world: World) -> None:
    """A user deletes the cluster, and the garbage collector its store."""
    await delete(world)
    await world.collect_garbage()


async def is_being_backed_up(world: World) -> bool:
    """Whether the pod is stopped and a Job at work, and the store says so."""
    workload = await world.get(kinds.STATEFUL_SET, "c-memory")
    store = await world.get(kinds.SWARM_MEMORY_STORE, "c-memory")
    assert workload["spec"]["replicas"] == 0
    assert [c["message"] for c in store["status"]["conditions"] if "the copy is being made" in c["message"]]
    return len((await world.admin.list(kinds.JOB, namespace=world.namespace))[0]) == 1


async def finish_job(world: World) -> None:
    """The Job's pod makes the backup, and the Job is complete."""
    now = "2026-11-26T03:00:00Z"
    report = {"verified_at": now, "completed_at": now, "size": 4096, "entries": 3, "sha256": "0" * 64}
    await complete_job(world, report)


async def complete_job(world: World, report: Object) -> None:
    """The pod of the only Job reports, and the Job is complete."""
    (job,) = (await world.admin.list(kinds.JOB, namespace=world.namespace))[0]
    template, now = job["spec"]["template"], "2026-11-26T03:00:00Z"
    metadata = {"name": "job-pod", "namespace": world.namespace, **template["metadata"]}
    metadata["ownerReferences"] = [owner_reference(job)]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    await world.admin.create(kinds.POD, pod, field_manager="kubelet")
    state = {"terminated": {"exitCode": 0, "message": json.dumps(report)}}
    name = template["spec"]["containers"][0]["name"]
    container = {"name": name, "image": "x", "imageID": "x", "ready": False, "restartCount": 0, "state": state}
    await world.status(kinds.POD, "job-pod", {"phase": "Succeeded", "containerStatuses": [container]})
    why = {"status": "True", "lastTransitionTime": now, "reason": "CompletionsReached"}
    complete = [{"type": kind, **why} for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"conditions": complete, "startTime": now, "completionTime": now, "succeeded": 1}
    await world.status(kinds.JOB, job["metadata"]["name"], status)


async def is_gone_but_for_the_backup(world: World) -> bool:
    await world.collect_garbage()
    (backup,) = (await world.admin.list(kinds.SWARM_MEMORY_BACKUP, namespace=world.namespace))[0]
    assert (backup["status"]["phase"], backup["status"]["entries"]) == ("Completed", 3)
    assert len((await world.admin.list(kinds.JOB, namespace=world.namespace))[0]) == 1
    return {name for _, name in await world.uids()} == {"c-memory-backups"}


async def create_migrating(world: World) -> None:
    """A user makes a cluster that takes over what lies on a claim."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}
    body["metadata"] = {"name": "old", "namespace": world.namespace}
    await world.admin.create(kinds.PERSISTENT_VOLUME_CLAIM, body, field_manager="user")
    await world.cluster(size="1Gi", migrateFromLegacy=True, legacyDataPVC="old")


async def is_migrating(world: World) -> bool:
    """Whether one Job is at work, and the store says so."""
    assert (await world.get(kinds.SWARM_MEMORY_STORE, "c-memory"))["status"]["phase"] == "Migrating"
    (job,) = (await world.admin.list(kinds.JOB, namespace=world.namespace))[0]
    assert not job["metadata"].get("deletionTimestamp")
    return await world.settled()


async def finish_migration(world: World) -> None:
    """The Job's pod migrates everything, and the Job is complete."""
    kinds_ = {"entry": {"created": 5}, "agent": {"created": 1}}
    await complete_job(world, {"problem": None, "totals": {"kept": 0, "quarantined": 0}, "kinds": kinds_})


async def is_migrated(world: World) -> bool:
    status = (await world.get(kinds.SWARM_MEMORY_STORE, "c-memory"))["status"]
    assert (status["migrationCompleted"], status["migration"]["entries"], status["phase"]) == (True, 5, "Ready")
    assert len((await world.admin.list(kinds.JOB, namespace=world.namespace))[0]) == 1
    return await world.settled()


def _agents(count: int) -> Object:
    scaling = {"enabled": True, "maxAgents": 9, "targetUtilization": 50}
    return {"agents": count, "topology": "ring", "agentTemplate": {"capabilities": ["coder"]}, "autoscaling": scaling}


async def create_with_agents(world: World) -> None:
    """A user makes a cluster with a memory and three agents."""
    await world.cluster(spec=_agents(3), size="1Gi")


async def scale(world: World) -> None:
    """The agents are ready, and a user wants five."""
    generation = (await world.get(kinds.STATEFUL_SET, "c-agent"))["metadata"]["generation"]
    ready = {"replicas": 3, "readyReplicas": 3, "currentRevision": "r", "updateRevision": "r"}
    await world.status(kinds.STATEFUL_SET, "c-agent", {"observedGeneration": generation, **ready})
    await world.cluster(spec=_agents(5), size="1Gi")


async def wait_for_memory(world: World) -> bool:
    """Whether the agents wait for the memory."""
    return await _agents_say(world, "WaitingForMemory")


async def have(world: World, count: int, message: str) -> bool:
    workload = await world.get(kinds.STATEFUL_SET, "c-agent")
    peers = (await world.get(kinds.CONFIG_MAP, "c-agent"))["data"]
    assert workload["spec"]["replicas"] == count
    assert [name for name in peers if name.endswith(".peers")] == [f"c-agent-{number}.peers" for number in range(count)]
    await world.get(kinds.HORIZONTAL_POD_AUTOSCALER, "c-agent")
    return await _agents_say(world, "WaitingForAgents", message)


async def have_three(world: World) -> bool:
    return await have(world, 3, "0 of 3 agents are ready")


async def have_five(world: World) -> bool:
    return await have(world, 5, "3 of 5 agents are ready")


async def _agents_say(world: World, reason: str, message: str = "") -> bool:
    await world.settled_store()
    cluster = await world.get(kinds.SWARM_CLUSTER, "c")
    assert cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"]
    condition = {c["type"]: c for c in cluster["status"]["conditions"]}["AgentsReady"]
    return condition["reason"] == reason and message in condition["message"]


Step = tuple[Callable[[World], Awaitable[None]], Callable[[World], Awaitable[bool]]]
SCENARIO: tuple[Step, ...] = ((create, World.settled), (change, has_settings), (become_ready, is_ready))
LIFE: tuple[Step, ...] = (
    *SCENARIO,
    (resize, has_grown),
    (fill, has_grown_by_itself),
    (delete, is_gone),
)
BACKED_UP: tuple[Step, ...] = ((create_backed_up, World.settled), (become_ready, is_ready))
UNMIGRATED: tuple[Step, ...] = ((create_migrating, World.settled),)
MIGRATION: tuple[Step, ...] = ((become_ready, is_migrating), (finish_migration, is_migrated))
DELETION: tuple[Step, ...] = ((delete_all, is_being_backed_up), (finish_job, is_gone_but_for_the_backup))
WITH_AGENTS: tuple[Step, ...] = ((create_with_agents, wait_for_memory),)
AGENTS: tuple[Step, ...] = ((become_ready, have_three), (scale, have_five))
