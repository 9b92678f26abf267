import pytest
from pydantic import ValidationError

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers import kinds, refusals
from swarm_operator.controllers.children import NameTakenError
from swarm_operator.controllers.status import Conditions
from swarm_operator.runtime.controller import Result
from swarm_operator.runtime.errors import Cause, ForbiddenError, InvalidError, TerminalError
from swarm_operator.runtime.resource import key_of

STORE = kinds.SWARM_MEMORY_STORE


@pytest.fixture
def obj(store_object, seen):
    return seen(STORE, store_object() | {"status": {"phase": "Ready", "entryCount": 3}})


@pytest.fixture
def report(cache, recorder, clock, obj):
    async def call(error):
        return await refusals.report(cache, recorder, STORE, obj, Conditions(obj, clock), error)

    return call


@pytest.fixture
def status(cache, obj):
    return lambda: cache.get(STORE, key_of(obj))["status"]


def invalid(**spec):
    with pytest.raises(ValidationError) as caught:
        SwarmMemoryStore.model_validate({"metadata": {"name": "bees"}, "spec": spec})
    return caught.value


async def test_a_spec_that_is_not_valid_is_an_error_until_it_changes(report, status):
    with pytest.raises(TerminalError):
        await report(invalid(storageSize="lots", cacheSize=0))
    (ready,) = status()["conditions"]
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "spec.storageSize: " in ready["message"]
    assert "; spec.cacheSize: " in ready["message"]


async def test_what_the_server_finds_invalid_is_tried_again(report, status):
    error = InvalidError("field is immutable", status=422)
    with pytest.raises(InvalidError) as caught:
        await report(error)
    assert caught.value is error
    (ready,) = status()["conditions"]
    assert (ready["reason"], ready["message"]) == ("Refused", "field is immutable")


async def test_what_is_forbidden_is_tried_again(report, status):
    with pytest.raises(ForbiddenError):
        await report(ForbiddenError("exceeded quota", status=403))
    assert status()["conditions"][0]["reason"] == "Forbidden"


async def test_a_namespace_on_its_way_out_is_no_error(report, client):
    error = ForbiddenError("terminating", status=403, causes=(Cause("", "", "NamespaceTerminating"),))
    assert await report(error) == Result()
    assert client.writes() == []


async def test_a_name_that_is_taken_is_looked_at_again_after_a_minute(report, status):
    assert await report(NameTakenError(kinds.SERVICE, "bees")) == Result(requeue_after=60.0)
    assert status()["conditions"][0]["reason"] == "NameTaken"


async def test_the_rest_of_the_status_stays(report, status, recorder):
    await report(NameTakenError(kinds.SERVICE, "bees"))
    assert status()["entryCount"] == 3
    assert status()["phase"] == "Error"
    assert [(kind, reason) for kind, reason, _ in recorder.events] == [("Warning", "NameTaken")]
