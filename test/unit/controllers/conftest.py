"""A cluster of dicts, a clock that tests move, and custom resources to reconcile."""

import asyncio
import base64
import copy
import itertools
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from structlog.testing import LogCapture

from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.children import ELSEWHERE_INDEX, by_owner_elsewhere
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmmemorystore.backups.objects import STORE_INDEX, by_store
from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.errors import ConflictError, NotFoundError, UnreachableError
from swarm_operator.runtime.events import EVENTS
from swarm_operator.runtime.frozen import freeze
from swarm_operator.runtime.resource import Key, key_of, owner_reference


class FakeClock:
    def __init__(self):
        self.moment = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)

    def now(self):
        return self.moment

    def monotonic(self):
        return self.moment.timestamp()

    def advance(self, seconds):
        self.moment += timedelta(seconds=seconds)


class FakeClient:
    """Keeps objects, merges what is applied, and notes every request."""

    def __init__(self):
        self.objects = {}
        self.requests = []
        self.refusals = {}
        self.version = 100
        self.documents = {
            "/.well-known/openid-configuration": {"issuer": "https://cluster.example.com"},
            "/openid/v1/jwks": {
                "keys": [{"kty": "EC", "kid": "k1", "alg": "ES256", "x": "eA", "y": "eQ", "crv": "P-256"}]
            },
        }
        """What is not an object, by its path."""

    def put(self, resource, obj):
        """Another's write."""
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.objects[resource, key_of(obj)] = obj
        return obj

    def writes(self):
        return [request for request in self.requests if request[0] not in {"get", "list"}]

    async def get(self, resource, namespace, name):
        self._note("get", resource, name)
        for (kind, key), obj in self.objects.items():
            if (kind, *key) == (resource, namespace, name):
                return copy.deepcopy(obj)
        raise NotFoundError(f"{resource.plural} {name!r} not found", status=404)

    async def create(self, resource, obj, *, field_manager):
        self._note("create", resource, obj["metadata"]["name"])
        if (resource, key_of(obj)) in self.objects:
            raise ConflictError("exists", status=409, reason="AlreadyExists")
        made = copy.deepcopy(obj)
        made["metadata"].setdefault("uid", f"uid-{obj['metadata']['name']}")
        return copy.deepcopy(self.put(resource, made))

    async def list(self, resource, *, namespace, field_selector="", label_selector=""):
        self._note("list", resource, field_selector or label_selector)
        if label_selector:
            labels = dict(part.split("=") for part in label_selector.split(","))
            found = [obj for (its, key), obj in self.objects.items() if (its, key.namespace) == (resource, namespace)]
            ours = [obj for obj in found if labels.items() <= obj["metadata"]["labels"].items()]
            return copy.deepcopy(ours), str(self.version)
        if not field_selector:
            found = [obj for (its, key), obj in self.objects.items() if (its, key.namespace) == (resource, namespace)]
            return copy.deepcopy(found), str(self.version)
        field, _, kind = field_selector.partition("=")
        assert (resource, field) == (EVENTS, "regarding.kind")
        events = [obj for (its, key), obj in self.objects.items() if (its, key.namespace) == (resource, namespace)]
        return [copy.deepcopy(event) for event in events if event["regarding"]["kind"] == kind], str(self.version)

    async def apply(self, resource, obj, *, field_manager, subresource="", force=True):
        self._note(f"apply {subresource}".strip(), resource, obj["metadata"]["name"])
        live = self.objects.get((resource, key_of(obj)), {})
        if live and obj["metadata"].get("uid", live["metadata"].get("uid")) != live["metadata"].get("uid"):
            raise ConflictError("another uid", status=409)
        if not force and not _agrees(obj, live):
            raise ConflictError("another manager's fields", status=409, reason="Conflict")
        if subresource:
            merged = {**live, "status": copy.deepcopy(obj["status"])}
            merged["metadata"] = dict(live["metadata"])
        else:
            merged = _merged(live, obj)
            merged["metadata"].setdefault("uid", f"uid-{obj['metadata']['name']}")
            generation = live.get("metadata", {}).get("generation", 0)
            merged["metadata"]["generation"] = generation + (live.get("spec") != merged.get("spec"))
        return copy.deepcopy(self.put(resource, merged))

    async def merge(self, resource, namespace, name, patch, *, field_manager):
        self._note("merge", resource, name)
        live = self.objects.get((resource, Key(namespace, name)))
        if live is None:
            raise NotFoundError(f"{resource.plural} {name!r} not found", status=404)
        wanted = patch["metadata"]
        for precondition in ("uid", "resourceVersion"):
            if wanted.get(precondition, live["metadata"][precondition]) != live["metadata"][precondition]:
                raise ConflictError(f"another {precondition}", status=409)
        return copy.deepcopy(self.put(resource, _merged(live, patch)))

    async def request(self, method, path, *, accept="application/json"):
        assert (accept == "application/jwk-set+json") == path.endswith("/jwks"), "an API server sends no other type"
        document = self.documents[path]
        if isinstance(document, Exception):
            raise document
        return copy.deepcopy(document)

    async def delete(self, resource, namespace, name, *, uid, propagation="Background"):
        self._note("delete", resource, name)
        live = self.objects.get((resource, Key(namespace, name)))
        if live is None:
            raise NotFoundError(f"{resource.plural} {name!r} not found", status=404)
        if live["metadata"]["uid"] != uid:
            raise ConflictError("another uid", status=409)
        del self.objects[resource, Key(namespace, name)]

    def _note(self, verb, resource, name):
        self.requests.append((verb, resource.kind, name))
        if refusal := self.refusals.get((verb, resource.kind)):
            raise refusal


def _merged(live, wanted):
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return copy.deepcopy(wanted)
    merged = {**live, **{name: _merged(live.get(name), value) for name, value in wanted.items()}}
    return {name: value for name, value in merged.items() if value is not None}


def _agrees(wanted, live):
    """Return whether an apply would change no existing value."""
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return live == wanted
    return all(_agrees(value, live[name]) for name, value in wanted.items() if name in live)


class FakeRecorder:
    def __init__(self):
        self.events = []

    def event(self, regarding, kind, reason, note, *, action):
        self.events.append((kind, reason, note))

    @property
    def reasons(self):
        return [reason for _, reason, _ in self.events]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def recorder():
    return FakeRecorder()


@pytest.fixture
def client():
    return FakeClient()


@pytest.fixture
def reads(client):
    """The kinds for whose first lists the controller of a reconciler waits. The argument makes the reconciler."""

    def declared(make):
        cache = Cache(client)
        controller = Controller("declared", None, cache)
        make(CachedClient(client, cache)).set_up(controller)
        return {informer.resource for informer in controller._informers}

    return declared


@pytest.fixture
def listed():
    """The kinds of which the first list is in the cache: a read of any other fails. None for all."""
    return


@pytest.fixture
async def cache(client, listed):
    made = Cache(client, transform=freeze)
    for resource in (
        kinds.SWARM_CLUSTER,
        kinds.SWARM_MEMORY_STORE,
        kinds.SWARM_MEMORY_BACKUP,
        kinds.SWARM_MEMORY_RESTORE,
        kinds.STATEFUL_SET,
        kinds.SERVICE,
        kinds.PERSISTENT_VOLUME_CLAIM,
        kinds.POD,
        kinds.JOB,
        kinds.CONFIG_MAP,
        kinds.SERVICE_ACCOUNT,
        kinds.HORIZONTAL_POD_AUTOSCALER,
        kinds.NETWORK_POLICY,
        kinds.POD_DISRUPTION_BUDGET,
    ):
        (informer,) = made.add(resource)
        made.add_index(resource, ELSEWHERE_INDEX, by_owner_elsewhere)
        if listed is None or resource in listed:
            informer.replaced([], "0")
    made.add_index(kinds.SWARM_MEMORY_BACKUP, STORE_INDEX, by_store)
    return made


@pytest.fixture
def caching(client, cache):
    """What reconcilers read and write with."""
    return CachedClient(client, cache)


@pytest.fixture
def seen(cache, client):
    """Another's write, of which an event has come."""

    def put(resource, obj):
        if resource == kinds.POD:
            obj = {"spec": {}} | obj
        stored = client.put(resource, copy.deepcopy(obj))
        (informer,) = cache.add(resource)
        informer.changed(copy.deepcopy(stored))
        return stored

    return put


@pytest.fixture
def tell(client):
    """What a controller of Kubernetes writes about an object, in an event."""
    numbers = itertools.count()

    def event(kind, about, controller, reason, note="", *, name=None, **fields):
        metadata = {"name": name or f"event-{next(numbers)}", "namespace": "ns"}
        regarding = {"kind": kind.kind, "name": about, "namespace": "ns", "uid": f"uid-{about}"}
        body = {"metadata": metadata, "regarding": regarding, "reason": reason, "note": note}
        client.put(EVENTS, body | ({"reportingController": controller} if controller else {}) | fields)

    return event


@pytest.fixture
def forget(cache, client):
    """Another's deletion, of which an event has come."""

    def delete(resource, name):
        gone = client.objects.pop((resource, Key("ns", name)))
        (informer,) = cache.add(resource)
        informer.deleted(copy.deepcopy(gone))

    return delete


@pytest.fixture
def reconciliation(caching, recorder, clock):
    """Makes passes over stores."""

    def make(obj):
        return Reconciliation(kinds.SWARM_MEMORY_STORE, obj, caching, recorder, clock)

    return make


@pytest.fixture
def logged():
    """Every entry that is logged during the test."""
    capture = LogCapture()
    processors = structlog.get_config()["processors"]
    old = processors[:]
    # In place, since loggers that were used before keep a reference to the list.
    processors[:] = [structlog.contextvars.merge_contextvars, capture]
    yield capture.entries
    processors[:] = old


def _object(model, name, spec):
    return {
        "apiVersion": f"{model.GROUP}/{model.VERSION}",
        "kind": model.KIND,
        "metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"},
        "spec": spec,
    }


@pytest.fixture
def store_object():
    """Makes SwarmMemoryStores as the API server has them."""

    def make(name="bees", **spec):
        return _object(SwarmMemoryStore, name, spec)

    return make


@pytest.fixture
def store(store_object):
    """Makes SwarmMemoryStores as the reconciler reads them."""

    def make(name="bees", **spec):
        return SwarmMemoryStore.model_validate(store_object(name, **spec))

    return make


@pytest.fixture
def ready_store(seen, client, store_object):
    """Makes a store whose memory service can be asked."""

    def make(name="bees", **spec):
        store = store_object(name, **{"backupInterval": "1h"} | spec)
        store["status"] = {"conditions": [{"type": "Ready", "status": "True", "reason": "Available", "message": ""}]}
        for condition in store["status"]["conditions"]:
            condition["lastTransitionTime"] = "2026-11-23T12:00:00Z"
        seen(kinds.SWARM_MEMORY_STORE, store)
        owned = {"namespace": "ns", "ownerReferences": [owner_reference(store)], "uid": f"uid-{name}-child"}
        seen(kinds.SERVICE, {"metadata": {"name": name, **owned}})
        token = base64.b64encode(b"admin").decode()
        client.put(kinds.SECRET, {"metadata": {"name": f"{name}-auth", **owned}, "data": {"admin-token": token}})
        return store

    return make


@pytest.fixture
def cluster_object():
    """Makes SwarmClusters as the API server has them."""

    def make(name="hive", **memory):
        return _object(SwarmCluster, name, {"memory": memory})

    return make


class DiedError(UnreachableError):
    """The operator has died."""


@pytest.fixture
def mortal(client, monkeypatch):
    """Makes the operator die when its k-th write is done, or never for 0; counts its writes."""
    counted = {"writes": 0, "last": 0}

    def dying(method):
        async def call(*args, **kwargs):
            answer = await method(*args, **kwargs)
            counted["writes"] += 1
            if counted["writes"] == counted["last"]:
                raise DiedError("died")
            return answer

        return call

    for name in ("create", "apply", "merge"):
        monkeypatch.setattr(client, name, dying(getattr(client, name)))
    return counted


@pytest.fixture
def live(cache, client, mortal):
    """Reconciles an object until nothing changes any more, with a new operator after a death.

    `make` makes a reconciler. Returns how often one died.
    """

    async def run(last, resource, key, make):
        mortal.update(writes=0, last=last)
        deaths, quiet = 0, 0
        reconciler = None
        (informer,) = cache.add(resource)
        while quiet < 3:
            reconciler = reconciler or make()
            before = mortal["writes"]
            try:
                await reconciler.reconcile(key)
            except DiedError:
                deaths, reconciler = deaths + 1, None
            for _ in range(6):
                await asyncio.sleep(0)
            if (resource, key) in client.objects:  # what the watch brings
                informer.changed(copy.deepcopy(client.objects[resource, key]))
            quiet = quiet + 1 if mortal["writes"] == before and reconciler else 0
        return deaths

    return run
