"""A store's podTemplate: what its pod and its Jobs get, what is refused, and that the pod serves on then."""

import copy

import pytest

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup
from swarm_operator.api.v1alpha1.backups import BackupDestination
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.pod_template import PodTemplateError
from swarm_operator.controllers.swarmmemorybackup.job import making_job
from swarm_operator.controllers.swarmmemorystore.backups.source import Source
from swarm_operator.controllers.swarmmemorystore.workload.customisation import with_pod_template
from swarm_operator.controllers.swarmmemorystore.workload.restore_job import restore_job
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set
from swarm_operator.runtime.errors import BadRequestError, InvalidError, ServerError
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")
SET, STORE = kinds.STATEFUL_SET, kinds.SWARM_MEMORY_STORE


def memory(**fields):
    return {"spec": {"containers": [{"name": "memory", **fields}]}}


GOOD = {"spec": {"nodeSelector": {"disk": "ssd"}}}
BAD = memory(command=["sh"])


@pytest.fixture
def workload(client):
    return lambda: copy.deepcopy(client.objects.get((SET, KEY)))


@pytest.fixture
async def serving(become, ready, reconcile):
    await become(podTemplate=GOOD)
    ready()
    await reconcile()


@pytest.mark.parametrize(
    ("limit", "fits"), [("242Mi", True), ("0.5Gi", True), ("241.9Mi", False), ("200M", False), (100, False)]
)
def test_a_memory_limit_holds_the_cache(store, limit, fits):
    made = store(cacheMemoryMB=50, podTemplate=memory(resources={"limits": {"memory": limit}}))
    workload = stateful_set(made, image="i")
    if fits:
        with_pod_template(workload, made)
    else:
        with pytest.raises(
            PodTemplateError, match=r"limits\[memory\]: .* is less than the 242Mi that cacheMemoryMB 50"
        ):
            with_pod_template(workload, made)


@pytest.mark.parametrize("field", ["containers", "initContainers"])
@pytest.mark.parametrize("volume", ["data", "same"])
def test_no_other_container_mounts_the_data(store, field, volume):
    spec = {field: [{"name": "side", "image": "s", "volumeMounts": [{"name": volume, "mountPath": "/d"}]}]}
    same = {"name": "same", "persistentVolumeClaim": {"claimName": "bees-data"}}
    made = store(podTemplate={"spec": {**spec, "volumes": [same]}})
    with pytest.raises(PodTemplateError, match=rf"spec.{field}\[side\].volumeMounts\[/d\]: is the data volume"):
        with_pod_template(stateful_set(made, image="i"), made)


def test_another_container_may_mount_the_tokens(store):
    side = {"name": "side", "image": "s", "volumeMounts": [{"name": "tokens", "mountPath": "/t", "readOnly": True}]}
    made = store(podTemplate={"spec": {"containers": [side]}})
    made_pod = with_pod_template(stateful_set(made, image="i"), made)["spec"]["template"]["spec"]
    assert [container["name"] for container in made_pod["containers"]] == ["memory", "side"]


PLACEMENT = {
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a"}],
    "imagePullSecrets": [{"name": "theirs"}],
    "priorityClassName": "high",
}
EVERYTHING = {
    "metadata": {"labels": {"team": "x"}},
    "spec": {**PLACEMENT, "hostAliases": [], "containers": [{"name": "side", "image": "s"}]},
}


@pytest.fixture
def jobs(store):
    """Makes the Jobs of a store."""
    destination = BackupDestination(claim_name="c")
    backup = SwarmMemoryBackup.model_validate(
        {"metadata": {"name": "b", "namespace": "ns", "uid": "u"}, "spec": {"storeRef": {"name": "bees"}}}
    )

    def make(**spec):
        made, secrets = store(**spec), ("ours",)
        source = Source("file:///backups/s/b", destination, "b")
        yield restore_job(made, source, image="i", pull_secrets=secrets, near="other")
        yield making_job(backup, made, destination, "file:///b", image="i", pull_secrets=secrets, deadline=1)

    return lambda **spec: [job["spec"]["template"] for job in make(**spec)]


def test_jobs_get_what_says_where_pods_run(jobs):
    for plain, template in zip(jobs(), jobs(podTemplate=EVERYTHING), strict=True):
        secrets = [{"name": "ours"}, {"name": "theirs"}]
        assert template == {**plain, "spec": {**plain["spec"], **PLACEMENT, "imagePullSecrets": secrets}}


def test_jobs_are_made_without_a_template_that_is_refused(jobs):
    assert jobs(podTemplate={"spec": {"imagePullSecrets": "x"}}) == jobs()


async def test_a_new_store_with_a_refused_template_has_no_pod_and_says_why(become, workload, condition, recorder):
    await become(podTemplate=BAD)
    assert workload() is None
    said = "spec.podTemplate.spec.containers[memory].command: is set by the operator; leave it out"
    for kind in ("Ready", "PodTemplateApplied"):
        assert condition(kind)["status"] == "False"
        assert (condition(kind)["reason"], condition(kind)["message"]) == ("PodTemplateRefused", said)
    assert ("Warning", "PodTemplateRefused") in [(kind, reason) for kind, reason, _ in recorder.events]
    await become(podTemplate=GOOD)
    assert workload()["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}


async def test_a_refused_template_leaves_the_pod_as_it_is(serving, become, workload, condition, status, client):
    before = workload()
    await become(podTemplate=BAD, version="v2", cacheSize=7)
    assert workload() == before
    assert condition("Ready")["status"] == "True"
    assert (condition("PodTemplateApplied")["status"], condition("PodTemplateApplied")["reason"]) == (
        "False", "PodTemplateRefused",
    )  # fmt: skip
    assert condition("PodTemplateApplied")["message"].startswith("the pod stays as it is; spec.podTemplate.spec.cont")
    await become(podTemplate=BAD, hibernated=True)
    assert workload()["spec"]["replicas"] == 0
    assert workload()["spec"]["template"] == before["spec"]["template"]
    await become(version="v2")
    assert "nodeSelector" in before["spec"]["template"]["spec"]
    assert "PodTemplateApplied" not in {found["type"] for found in status()["conditions"]}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidError, "spec.template.spec.x: Unsupported value"),
        (BadRequestError, "unknown"),
        (ServerError, "failed to create typed patch object: .spec.template.spec.x: field not declared in schema"),
    ],
)
async def test_what_the_api_server_refuses_is_said_in_its_words(
    error, said, serving, become, workload, condition, client, reconcile
):
    before = workload()
    client.refusals["apply", "StatefulSet"] = error(said)
    await become(podTemplate={"spec": {"x": 1}})
    assert workload() == before
    assert condition("Ready")["status"] == "True"
    assert condition("PodTemplateApplied")["message"] == f"the pod stays as it is; {said}"
    client.refusals.clear()
    await reconcile()
    assert (condition("PodTemplateApplied")["status"], condition("PodTemplateApplied")["reason"]) == ("True", "Applied")


async def test_a_template_without_an_override_that_is_refused_is_an_error_of_the_child(become, client, condition):
    client.refusals["apply", "StatefulSet"] = InvalidError("no", status=422)
    with pytest.raises(InvalidError):
        await become()
    assert condition("Ready")["reason"] == "Refused"


async def test_a_new_store_whose_template_the_api_server_refuses_has_no_pod(become, client, workload, condition):
    client.refusals["apply", "StatefulSet"] = InvalidError("no", status=422)
    await become(podTemplate=GOOD)
    assert workload() is None
    assert condition("Ready")["reason"] == "PodTemplateRefused"


async def test_a_value_that_the_api_server_writes_otherwise_is_applied_once(become, client, seen, reconcile, workload):
    await become(podTemplate={"spec": {"schedulerName": ""}})

    def as_the_server_has_it():
        live = workload()
        live["spec"]["template"]["spec"]["schedulerName"] = "default-scheduler"
        seen(SET, live)

    as_the_server_has_it()
    before = client.writes()
    await reconcile()
    assert client.writes() == before
    live = workload()
    live["spec"]["template"]["spec"]["schedulerName"] = "somebody's"
    live["metadata"]["generation"] += 1
    seen(SET, live)
    await reconcile()
    assert workload()["spec"]["template"]["spec"]["schedulerName"] == ""
