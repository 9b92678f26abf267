"""The way of one event of a custom resource through the code, from the transport to the write of the status."""

import asyncio
import contextlib
import copy
import functools
import json
import re
import sys
import threading
from pathlib import Path

import pytest
from aiohttp import web
from support.pages import DOCS

import swarm_operator
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster import SwarmClusterReconciler
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.stats import Observer
from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.kubernetes_asyncio import Configuration

PACKAGE = Path(swarm_operator.__file__).parent

PAGE = (DOCS / "design" / "walks.md").read_text()
_, MACHINERY, CLUSTER, STORE = (
    re.findall(r"^\d+\. `([^`]+)`", part, re.MULTILINE) for part in re.split("^## .*$", PAGE, flags=re.MULTILINE)
)
"""Files of every event; files of a SwarmCluster's model and steps; and of a SwarmMemoryStore's."""

STATS = {
    "entries": 3,
    "agents": 2,
    "tasks": 1,
    "patterns": 0,
    "database_size_bytes": 4096,
    "wal_size_bytes": 0,
    "volume_size_bytes": 1000,
    "volume_free_bytes": 900,
    "cache": {"hit_rate": 0.5},
    "settings": {},
    "swarm_id": "s",
    "version": "1",
    "sqlite_version": "3",
}


KEYS = {
    "/.well-known/openid-configuration": {"issuer": "https://cluster"},
    "/openid/v1/jwks": {"keys": [{"kty": "EC", "kid": "k"}]},
}


class Server:
    """As much of an API server as the operator asks for, and the memory service of every store."""

    def __init__(self):
        self.url = ""
        self._objects = {}
        self._watches = []
        self._version = 0
        self.polls = 0

    def put(self, path, obj):
        """Store an object and tell the watches of its collection. A spec that changes is a new generation."""
        old = self._objects.get(path, {})
        self._version += 1
        obj["metadata"] |= {"resourceVersion": str(self._version), "uid": f"uid-{path}"}
        generation = old.get("metadata", {}).get("generation", 0)
        obj["metadata"]["generation"] = generation + (old.get("spec") != obj.get("spec"))
        self._objects[path] = obj
        for collection, queue in self._watches:
            if collection == path.rpartition("/")[0]:
                queue.put_nowait({"type": "MODIFIED" if old else "ADDED", "object": obj})
        return obj

    def change(self, path, **parts):
        self.put(path, copy.deepcopy(self._objects[path]) | parts)

    def __getitem__(self, path):
        return self._objects[path]

    async def handle(self, request):
        path = request.path
        if path == "/v1/stats":
            self.polls += 1
            return web.json_response(STATS)
        if request.query.get("watch"):
            return await self._stream(request)
        if request.method == "GET":
            found = KEYS.get(path) or self._objects.get(path)
            return web.json_response(found or {"message": "not found"}, status=200 if found else 404)
        sent = json.loads(await request.text())
        if request.method == "POST":
            return web.json_response(self.put(f"{path}/{sent['metadata']['name']}", sent))
        path = path.removesuffix("/status")
        if request.content_type == "application/merge-patch+json":
            sent["metadata"] = self._objects[path]["metadata"] | sent.get("metadata", {})
        return web.json_response(self.put(path, copy.deepcopy(self._objects.get(path, {})) | sent))

    async def _stream(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        queue = asyncio.Queue()
        for path, obj in self._objects.items():
            if path.rpartition("/")[0] == request.path:
                queue.put_nowait({"type": "ADDED", "object": obj})
        bookmark = {"resourceVersion": str(self._version), "annotations": {"k8s.io/initial-events-end": "true"}}
        queue.put_nowait({"type": "BOOKMARK", "object": {"metadata": bookmark}})
        self._watches.append((request.path, queue))
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(json.dumps(await queue.get()).encode() + b"\n")
        return response


@pytest.fixture
async def server():
    app = web.Application()
    serving = Server()
    app.router.add_route("*", "/{path:.*}", serving.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    serving.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield serving
    await runner.cleanup()


@pytest.fixture
async def operate(server, background):
    """Run a controller. The argument makes its reconciler from a client and a recorder of events."""
    configuration = Configuration()
    configuration.host = server.url
    running = []
    async with Client(configuration) as client:
        cache = Cache(client, namespaces=["ns"])
        recorder = EventRecorder(client, controller="swarm-operator", instance="test")

        def start(make_reconciler):
            reconciler = make_reconciler(CachedClient(client, cache), recorder)
            controller = Controller("walk", reconciler, cache)
            reconciler.set_up(controller)
            running.extend(background(part.run()) for part in (*cache.informers, recorder, controller))

        yield start
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextlib.contextmanager
def files_that_run():
    """The files of the package whose functions are called meanwhile, in the order of their first call."""
    found = {}

    def note(frame, event, _):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(str(PACKAGE)) and frame.f_code.co_name != "<module>":
            file = str(Path(name).relative_to(PACKAGE))
            found["memory/client" if file.startswith("memory/client/") else file] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def test_an_event_of_a_cluster(server, operate, cluster_object, eventually):
    """The memory of the swarm grows, which applies a child and changes the status."""
    cluster = kinds.SWARM_CLUSTER.path(namespace="ns", name="hive")
    store = kinds.SWARM_MEMORY_STORE.path(namespace="ns", name="hive-memory")
    operate(functools.partial(SwarmClusterReconciler, image="swarm-memory:v1"))
    server.put(cluster, cluster_object(enableMemoryStore=True, size="1Gi"))

    async def reported(generation=1):
        return server[cluster]["status"]["observedGeneration"] == generation and server[store]

    await eventually(reported)
    with files_that_run() as found:
        server.change(cluster, spec={"memory": {"enableMemoryStore": False, "size": "1Gi"}})
        await eventually(lambda: reported(2))
        server.change(cluster, spec={"memory": {"enableMemoryStore": True, "size": "2Gi"}})
        await eventually(lambda: reported(3))
    assert server[store]["spec"]["storageSize"] == "2Gi"
    assert sorted(found) == sorted([*MACHINERY, *CLUSTER])
    assert len(found) <= 24


async def test_an_event_of_a_store(server, operate, store_object, eventually):
    """The volume grows, which applies a child; the numbers are read; and a condition changes, which emits an event."""
    store = kinds.SWARM_MEMORY_STORE.path(namespace="ns", name="bees")
    claim = kinds.PERSISTENT_VOLUME_CLAIM.path(namespace="ns", name="bees-data")
    workload = kinds.STATEFUL_SET.path(namespace="ns", name="bees")
    operate(
        functools.partial(
            SwarmMemoryStoreReconciler, observer=Observer(server.url), image="swarm-memory:v1", status_interval=0.1
        )
    )
    server.put(store, store_object(storageSize="1Gi", deletionPolicy="Delete"))

    async def made():
        return server[workload] and server[store]["status"]

    await eventually(made)
    server.change(claim, status={"phase": "Bound", "capacity": {"storage": "1Gi"}})
    revisions = {"readyReplicas": 1, "currentRevision": "a", "updateRevision": "a"}
    server.change(workload, status={"observedGeneration": 1, **revisions})

    async def ready():
        return (server[store]["status"]["phase"], server[store]["status"]["entryCount"]) == ("Ready", 3)

    await eventually(ready)

    async def carried_out():
        status = server[store]["status"]
        judged = status["observedGeneration"] == 2 and status["phase"] == "Ready" and status["entryCount"] == 3
        return judged and server.polls > before

    before = server.polls
    with files_that_run() as found:
        server.change(store, spec={"storageSize": "2Gi"})
        await eventually(carried_out)
    assert server[claim]["spec"]["resources"]["requests"]["storage"] == "2Gi"
    assert sorted(found) == sorted([*MACHINERY, *STORE])
