"""What goes wrong around an operator: each ends in recovery or in a clear condition and event, and never in a hot loop.

Requests are counted: those of the process by its own metric, those of an operator in this process by its client.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import time
import urllib.request

import pytest
import yaml
from fault.world import QUIET
from support.audited import Audited

from swarm_operator.cmd import manager
from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.credentials import of_token_file
from swarm_operator.runtime.errors import ApiError, ForbiddenError, NotFoundError, UnauthorizedError
from swarm_operator.runtime.events import EVENTS
from swarm_operator.runtime.kubernetes_asyncio import Configuration
from swarm_operator.runtime.resource import Key, Resource, key_of

CRDS = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
POLICIES = Resource(
    *("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    namespaced=False,
)
BINDINGS = Resource(
    *("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    namespaced=False,
)

HOT = 10.0
"""Requests a second that would be too many for one store that cannot be helped."""


@pytest.fixture
async def run_manager(namespace):
    """Runs an operator in this process, with a client of the test's."""
    running = []

    def start(client: Audited):
        options = manager.parse(["--watch-namespaces", namespace, *QUIET])
        assembled = manager.assemble(client, options, instance="test")
        running.append(asyncio.create_task(assembled.run(asyncio.Event())))
        return assembled

    yield start
    for task in running:
        assert not task.done(), "the operator has ended by itself"
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


@pytest.fixture
async def client(control_plane):
    """With the rights of the operator's Role."""
    async with Audited(await load_config(control_plane.kubeconfig("operator"))) as audited:
        yield audited


def made(objects, *names):
    """Whether the stores' StatefulSets and Services are there."""

    async def check() -> bool:
        for name in names:
            await objects.get(kinds.STATEFUL_SET, name)
            await objects.get(kinds.SERVICE, name)
        return True

    return check


async def lose_the_service(objects, name: str) -> None:
    uid = (await objects.get(kinds.SERVICE, name))["metadata"]["uid"]
    await objects.client.delete(kinds.SERVICE, objects.namespace, name, uid=uid)


def is_alive(operator) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.health_port}/healthz", timeout=60) as answer:
        return answer.status == 200 and operator.process.poll() is None


class TestAnApiServerThatIsAway:
    """The operator's API server is the second of two; the world goes on at the first."""

    @pytest.fixture
    async def operator(self, objects, second_apiserver, start_operator, eventually):
        operator = start_operator(plane=second_apiserver.plane)
        await eventually(lambda: asyncio.to_thread(operator.ready))
        await objects.store("a")
        await eventually(made(objects, "a"))
        return operator

    async def test_it_is_asked_ever_more_seldom_and_what_happened_meanwhile_is_made_up_for(
        self, objects, second_apiserver, operator, eventually
    ):
        second_apiserver.kill()
        since = time.monotonic()
        await objects.store("b")
        await lose_the_service(objects, "a")

        def failures() -> float:
            return operator.metric('rest_client_requests_total{code="<error>"')

        async def failed_often() -> bool:
            # Several times for each of some 15 kinds that are watched: each first try comes at once.
            return failures() >= 60

        await eventually(failed_often, seconds=40)
        assert failures() / (time.monotonic() - since) < HOT
        assert is_alive(operator), "to restart it would not help"
        await asyncio.to_thread(second_apiserver.start)
        await eventually(made(objects, "a", "b"), seconds=60)

    async def test_one_that_hangs_is_waited_for(self, objects, second_apiserver, operator, eventually):
        before = operator.metric("rest_client_requests_total")
        second_apiserver.signal(signal.SIGSTOP)
        await objects.store("b")
        await lose_the_service(objects, "a")

        async def waits() -> bool:
            # The look at a store that is not ready, every 5 s, waits for an answer.
            running = 'workqueue_longest_running_processor_seconds{controller="swarmmemorystore"'
            return operator.metric(running) > 2.0

        await eventually(waits)
        assert operator.metric("rest_client_requests_total") - before <= 6
        assert is_alive(operator)
        second_apiserver.signal(signal.SIGCONT)
        await eventually(made(objects, "a", "b"))


class Wire:
    """A TCP proxy in front of the API server whose connections can fall silent without being closed."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        """Where it listens."""
        self._upstream = host, port
        self._frozen: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self):
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> int:
        """Let nothing more through on the connections that are open now; returns how many they are."""
        for frozen in self._frozen:
            frozen.set()
        return len(self._frozen)

    async def _accept(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        frozen = asyncio.Event()
        self._frozen.append(frozen)
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
            await asyncio.gather(self._pump(reader, up_writer, frozen), self._pump(up_reader, writer, frozen))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, *([up_writer] if "up_writer" in locals() else ())):
                # What was not sent yet would keep a closed one open.
                end.transport.abort()
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()

    @staticmethod
    async def _pump(reader, writer, frozen):
        while data := await reader.read(65536):
            if frozen.is_set():
                continue
            writer.write(data)
            await writer.drain()
        if not frozen.is_set():
            writer.close()


@pytest.fixture
async def wire(control_plane):
    """To be asked for before `run_manager`: it must outlive who connects to it."""
    host, _, port = control_plane.url.removeprefix("https://").partition(":")
    async with Wire(host, int(port)).serving() as serving:
        yield serving


async def test_a_watch_that_falls_silent_without_closing_is_taken_for_dead(
    objects, control_plane, wire, run_manager, eventually
):
    """The event of the new store is sent into nowhere: only a new watch or list can bring it."""
    configuration = await load_config(control_plane.kubeconfig("operator"))
    configuration.host = f"https://127.0.0.1:{wire.port}"
    async with Audited(configuration, timeout=2.0) as client:
        assembled = run_manager(client)
        for informer in assembled.cache.informers:
            informer.reflector.idle_seconds = 2.0  # 90 s, in scale
        await objects.store("a")
        await eventually(made(objects, "a"))
        assert wire.freeze() > len(assembled.cache.informers)
        client.requests.clear()
        since = time.monotonic()
        await objects.store("b")
        await eventually(made(objects, "b"))
        assert len(client.requests) / max(1.0, time.monotonic() - since) < 2 * HOT
        assembled_watches = {request.path for request in client.sent("WATCH")}
        assert kinds.SWARM_MEMORY_STORE.path(namespace=objects.namespace) in assembled_watches


class TestARefusalThatLasts:
    """An admission policy of somebody else refuses every StatefulSet."""

    @pytest.fixture
    async def policy(self, admin, namespace, eventually):
        name = f"no-statefulsets-{namespace}"
        policy = {
            "apiVersion": POLICIES.api_version,
            "kind": POLICIES.kind,
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "resourceRules": [
                        {
                            "apiGroups": ["apps"],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["statefulsets"],
                        }
                    ],
                },
                "validations": [{"expression": "false", "message": "no StatefulSets in this namespace"}],
            },
        }
        await admin.create(POLICIES, policy, field_manager="test")
        binding = {
            "apiVersion": BINDINGS.api_version,
            "kind": BINDINGS.kind,
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        }
        bound = await admin.create(BINDINGS, binding, field_manager="test")

        async def refuses() -> bool:
            labels = {"app": "x"}
            template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
            spec = {"selector": {"matchLabels": labels}, "serviceName": "x", "template": template}
            metadata = {"name": "x", "namespace": namespace}
            body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}
            path = kinds.STATEFUL_SET.path(namespace=namespace)
            try:
                await admin.request("POST", path, query={"dryRun": "All"}, body=body)
            except ApiError as error:
                return "no StatefulSets" in error.message
            return False

        await eventually(refuses)

        async def lift() -> None:
            await admin.delete(BINDINGS, "", name, uid=bound["metadata"]["uid"])

        yield lift
        with contextlib.suppress(NotFoundError):
            await lift()

    async def test_it_is_told_once_tried_ever_more_seldom_and_over_when_it_is_lifted(
        self, objects, client, run_manager, policy, eventually
    ):
        run_manager(client)
        await objects.store("s", backupOnDelete=False)  # every field is supported: no other warning

        async def tried_often() -> bool:
            return len(client.sent("PATCH", path="/statefulsets/s")) >= 11

        await eventually(tried_often)
        ready = await objects.condition(kinds.SWARM_MEMORY_STORE, "s", "Ready")
        assert (ready["status"], ready["reason"]) in {("False", "Refused"), ("False", "Forbidden")}
        assert "no StatefulSets in this namespace" in ready["message"]

        async def told() -> bool:
            events, _ = await objects.client.list(EVENTS, namespace=objects.namespace)
            warnings = [e for e in events if e["type"] == "Warning" and e["regarding"]["name"] == "s"]
            assert [e["reason"] for e in warnings] == [ready["reason"]]
            return "no StatefulSets in this namespace" in warnings[0]["note"]

        await eventually(told)
        assert len(client.sent("PATCH", path="/swarmmemorystores/s/status")) <= 2
        times = [request.at for request in client.sent("PATCH", path="/statefulsets/s")]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)][-4:]
        # A starved machine adds to each pause, so only the first and the last are compared: 8 x.
        assert gaps[-1] > 2 * gaps[0], gaps
        requests = [request for request in client.requests if request.at > times[-4]]
        assert len(requests) / (time.monotonic() - times[-4]) < HOT
        await policy()
        await eventually(made(objects, "s"))


class TestATokenThatExpires:
    """A token of the operator's own ServiceAccount that ends with the Secret that it is bound to."""

    @pytest.fixture
    async def new_token(self, control_plane, admin):
        system, made_of = "swarm-operator-system", itertools.count()

        async def make(name: str):
            name = f"{name}-{next(made_of)}"
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": system}}
            secret = await admin.create(kinds.SECRET, body, field_manager="test")
            created = control_plane.kubectl_run(
                *("-n", system, "create", "token", "swarm-operator-controller-manager"),
                *("--bound-object-kind", "Secret", "--bound-object-name", name),
            )
            assert created.returncode == 0, created.stderr

            async def expire() -> None:
                await admin.delete(kinds.SECRET, system, name, uid=secret["metadata"]["uid"])

            return created.stdout.strip(), expire

        return make

    async def test_it_is_asked_for_seldom_and_goes_on_with_the_renewed_one(
        self, objects, control_plane, run_manager, namespace, new_token, tmp_path, eventually
    ):
        first, expire = await new_token(f"first-{namespace}")
        token = tmp_path / "token"
        token.write_text(first)
        configuration = Configuration()
        configuration.host, configuration.verify_ssl = control_plane.url, False
        configuration.refresh_api_key_hook = of_token_file(token)
        async with Audited(configuration) as client:
            run_manager(client)
            await objects.store("a")
            await eventually(made(objects, "a"))
            await expire()

            async def refused() -> bool:
                try:
                    await client.get(kinds.SECRET, objects.namespace, "a-auth")
                except UnauthorizedError:
                    return True
                return False

            await eventually(refused)  # the API server believes a token for 10 s after it was last seen
            client.requests.clear()
            since = time.monotonic()
            await objects.store("b")

            async def tried_often() -> bool:
                return len(client.sent(path="swarmmemorystores/b")) >= 11  # its finalizer comes first

            await eventually(tried_often)
            assert len(client.requests) / (time.monotonic() - since) < HOT
            token.write_text((await new_token(f"second-{namespace}"))[0])
            await eventually(made(objects, "a", "b"))


async def test_a_crd_that_is_deleted_and_made_again_is_watched_again(
    objects, admin, control_plane, client, run_manager, eventually
):
    """The swarm's store goes with its CRD, and is made again with it."""
    run_manager(client)
    await objects.cluster("c", enableMemoryStore=True)
    await eventually(made(objects, "c-memory"))
    gone = await objects.get(kinds.SWARM_MEMORY_STORE, "c-memory")
    name = f"{kinds.SWARM_MEMORY_STORE.plural}.{kinds.SWARM_MEMORY_STORE.group}"
    crd = await admin.get(CRDS, "", name)
    for store in (await admin.list(kinds.SWARM_MEMORY_STORE))[0]:
        namespace, its_name = key_of(store)
        if namespace != objects.namespace:  # of other tests, whose operators are gone
            released = {"metadata": {"finalizers": None}}
            await admin.merge(kinds.SWARM_MEMORY_STORE, namespace, its_name, released, field_manager="test")
    client.requests.clear()
    since = time.monotonic()
    await admin.delete(CRDS, "", name, uid=crd["metadata"]["uid"])
    try:

        async def deleted() -> bool:
            try:
                await admin.get(CRDS, "", name)
            except NotFoundError:
                return True
            return False

        await eventually(deleted)

        async def missed() -> bool:
            # The watch is over, and so the reflector asks for what is not there.
            path = kinds.SWARM_MEMORY_STORE.path(namespace=objects.namespace)
            return len([r for r in client.requests if r.path == path]) >= 3

        await eventually(missed)
        assert len(client.requests) / (time.monotonic() - since) < 2 * HOT
    finally:
        fresh = {
            "apiVersion": crd["apiVersion"],
            "kind": crd["kind"],
            "metadata": {"name": name, "labels": crd["metadata"].get("labels", {})},
            "spec": crd["spec"],
        }
        await eventually(deleted)
        applied = control_plane.kubectl_run("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(fresh))
        assert applied.returncode == 0, applied.stderr
        waited = control_plane.kubectl_run("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
        assert waited.returncode == 0, waited.stderr

    async def made_again() -> bool:
        store = await objects.get(kinds.SWARM_MEMORY_STORE, "c-memory")
        assert store["metadata"]["uid"] != gone["metadata"]["uid"]
        return store["status"]["observedGeneration"] == store["metadata"]["generation"]

    await eventually(made_again, seconds=60)
    # Nothing collects garbage here: what the first store owned is in the way of the second, and that is said.
    ready = await objects.condition(kinds.SWARM_MEMORY_STORE, "c-memory", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NameTaken")


async def test_in_a_namespace_that_is_being_deleted_nothing_is_tried_again(
    objects, admin, namespace, client, run_manager, eventually
):
    assembled = run_manager(client)
    await objects.store("a")
    await eventually(made(objects, "a"))
    namespaces = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
    uid = (await admin.get(namespaces, "", namespace))["metadata"]["uid"]
    await admin.delete(namespaces, "", namespace, uid=uid)  # there is nobody here to end it: it terminates for ever
    with pytest.raises(ForbiddenError, match="being terminated"):
        await objects.store("b")
    client.requests.clear()
    await lose_the_service(objects, "a")
    (queue,) = (part.queue for part in assembled.runnables if getattr(part, "name", "") == "swarmmemorystore")

    async def over() -> bool:
        assert len(client.sent("PATCH", path="/services")) == 1
        return not queue._entries and not queue._locked

    await eventually(over)
    assert queue.failures(Key(namespace, "a")) == 0
    assert client.sent("PATCH", path="/status") == []
