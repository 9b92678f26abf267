import pytest

from swarm_operator.controllers.common import jobs, kinds
from swarm_operator.controllers.common.errors import NameTakenError
from swarm_operator.controllers.common.reconciliation import done, failed, waiting
from swarm_operator.runtime.resource import owner_reference

RUNNING = waiting("JobRunning", "Job bees-migrate is running", blocks=True)


@pytest.fixture
def ensure(reconciliation, store_object):
    async def call():
        job = {"metadata": {"name": "bees-migrate"}, "spec": {"backoffLimit": 0}}
        return await jobs.ensure(reconciliation(store_object()), job)

    return call


def job_with(*conditions):
    found = [{"type": kind, "status": status, **more} for kind, status, more in conditions]
    return {"metadata": {"name": "bees-migrate"}, "status": {"conditions": found}}


async def test_a_job_is_created_once_and_owned(ensure, client, store_object):
    assert await ensure() == RUNNING
    assert await ensure() == RUNNING
    assert client.writes() == [("create", "Job", "bees-migrate")]
    ((_, job),) = client.objects.items()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["metadata"]["ownerReferences"] == [owner_reference(store_object())]


async def test_a_job_that_has_finished_is_reported_and_not_run_again(ensure, client):
    await ensure()
    ((key, job),) = client.objects.items()
    client.put(key[0], job | job_with(("Complete", "True", {})) | {"metadata": job["metadata"]})
    assert await ensure() == done("JobSucceeded", "Job bees-migrate has succeeded")
    assert len(client.writes()) == 1


async def test_a_job_of_somebody_else_is_not_taken_for_ours(ensure, client):
    theirs = job_with(("Complete", "True", {}))
    theirs["metadata"]["namespace"] = "ns"
    client.put(kinds.JOB, theirs)
    with pytest.raises(NameTakenError):
        await ensure()


@pytest.mark.parametrize(
    ("job", "outcome"),
    [
        ({"metadata": {"name": "bees-migrate"}}, RUNNING),
        ({"metadata": {"name": "bees-migrate"}, "status": None}, RUNNING),
        (job_with(), RUNNING),
        (job_with(("Suspended", "True", {}), ("Complete", "False", {}), ("Failed", "False", {})), RUNNING),
        # Its pods are still ending.
        (job_with(("FailureTarget", "True", {}), ("SuccessCriteriaMet", "True", {})), RUNNING),
        (
            job_with(("Failed", "True", {"reason": "DeadlineExceeded", "message": "took 60 s"})),
            failed("DeadlineExceeded", "Job bees-migrate: took 60 s", blocks=True),
        ),
        (
            job_with(("Failed", "True", {"reason": "BackoffLimitExceeded"})),
            failed("BackoffLimitExceeded", "Job bees-migrate: BackoffLimitExceeded", blocks=True),
        ),
        (job_with(("Failed", "True", {})), failed("JobFailed", "Job bees-migrate: failed", blocks=True)),
    ],
)
def test_a_job_is_running_until_a_condition_says_how_it_ended(job, outcome):
    assert jobs.outcome(job) == outcome
