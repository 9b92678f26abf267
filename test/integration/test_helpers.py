"""Helpers of controllers.common that no reconciler uses yet, against a real API server."""

from __future__ import annotations

import asyncio

import pytest

from swarm_operator.controllers.common import children, finalizers, jobs, kinds
from swarm_operator.controllers.common.reconciliation import Reconciliation, waiting
from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.clock import SystemClock
from swarm_operator.runtime.errors import ConflictError
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Key

STORE = kinds.SWARM_MEMORY_STORE
FINALIZER = "swarm.claudeflow.io/test"


@pytest.fixture
async def cache(admin, namespace, background):
    made = Cache(admin, namespaces=[namespace])
    for resource in (STORE, kinds.SERVICE):
        for informer in made.add(resource):
            background(informer.run())
    await asyncio.wait_for(made.wait_synced(), 60)
    return made


@pytest.fixture
async def start(cache, admin, objects):
    """Starts a pass over a store of which no operator knows."""
    stored = await objects.store("s")

    def make(obj=None):
        recorder = EventRecorder(admin, controller="test", instance="test")
        return Reconciliation(STORE, obj or stored, CachedClient(admin, cache), recorder, SystemClock())

    return make


async def test_a_finalizer_holds_a_deleted_object_until_it_is_removed(start, objects, eventually):
    r = start()
    await finalizers.add(r, FINALIZER)
    uid = r.obj["metadata"]["uid"]
    await objects.client.delete(STORE, objects.namespace, "s", uid=uid)
    assert (await objects.get(STORE, "s"))["metadata"]["deletionTimestamp"]
    with pytest.raises(ConflictError):
        await finalizers.remove(start(r.obj), FINALIZER)  # read before the deletion
    await finalizers.remove(start(await objects.get(STORE, "s")), FINALIZER)
    assert await objects.missing(STORE, "s")
    await finalizers.remove(start(r.obj), FINALIZER)

    async def forgotten() -> bool:
        return r.client.get(STORE, Key(objects.namespace, "s")) is None

    await eventually(forgotten)


async def test_a_newer_object_of_the_same_name_gets_no_finalizer(start, objects):
    r = start()
    await objects.client.delete(STORE, objects.namespace, "s", uid=r.obj["metadata"]["uid"])
    await objects.store("s")
    with pytest.raises(ConflictError):
        await finalizers.add(r, FINALIZER)
    assert "finalizers" not in (await objects.get(STORE, "s"))["metadata"]


async def test_only_children_that_are_no_longer_wanted_are_deleted(start, objects, eventually):
    r = start()
    ports = [{"name": "x", "port": 1, "targetPort": 1, "protocol": "TCP"}]
    for name in ("a", "b"):
        await children.ensure(r, kinds.SERVICE, {"metadata": {"name": name}, "spec": {"ports": ports}})
    await objects.apply(kinds.SERVICE, "theirs", {"ports": ports})
    await children.prune(r, kinds.SERVICE, ["a"])
    assert await objects.missing(kinds.SERVICE, "b")
    assert not await objects.missing(kinds.SERVICE, "a")
    assert not await objects.missing(kinds.SERVICE, "theirs")
    await children.prune(r, kinds.SERVICE, ["a"])
    assert r.errors == []


async def test_a_job_is_created_once_and_its_end_is_reported(start, objects):
    r = start()
    pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}
    job = {"metadata": {"name": "s-job"}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}
    running = waiting("JobRunning", "Job s-job is running", blocks=True)
    assert await jobs.ensure(r, job) == running
    assert await jobs.ensure(r, job) == running
    # The Job controller sets these; there is none here.
    since = "2026-11-23T12:00:00Z"
    why = {"reason": "BackoffLimitExceeded", "message": "the pod failed", "lastTransitionTime": since}
    conditions = [{"type": kind, "status": "True", **why} for kind in ("FailureTarget", "Failed")]
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "s-job", "namespace": objects.namespace},
        "status": {"startTime": since, "conditions": conditions, "failed": 1},
    }
    await objects.client.apply(kinds.JOB, body, field_manager="test", subresource="status")
    outcome = await jobs.ensure(r, job)
    assert (outcome.phase, outcome.reason, outcome.blocks) == ("Error", "BackoffLimitExceeded", True)
    assert outcome.message == "Job s-job: the pod failed"
