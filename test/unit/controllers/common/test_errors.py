import pytest
from pydantic import ValidationError

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.errors import NameTakenError, ends_pass, explain
from swarm_operator.runtime.errors import (
    Cause,
    ConflictError,
    FencedError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerError,
    SilentError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
)


def invalid(**spec):
    with pytest.raises(ValidationError) as caught:
        SwarmMemoryStore.model_validate({"metadata": {"name": "bees"}, "spec": spec})
    return caught.value


def test_each_invalid_field_is_named():
    reason, message = explain(invalid(storageSize="lots", cacheSize=0))
    assert reason == "InvalidSpec"
    assert message.startswith("spec.storageSize: ")
    assert "; spec.cacheSize: " in message


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (InvalidError("field is immutable", status=422), "Refused", "field is immutable"),
        (ForbiddenError("exceeded quota", status=403), "Forbidden", "exceeded quota"),
        (ServerError("failed calling webhook", status=500), "RequestFailed", "failed calling webhook"),
        (ConflictError("another manager", status=409), "RequestFailed", "another manager"),
        (
            NameTakenError(kinds.SERVICE, "bees"),
            "NameTaken",
            "Service bees exists and belongs to another owner: rename or delete it, or rename this object",
        ),
    ],
)
def test_reason_and_message_of_errors(error, reason, message):
    assert explain(error) == (reason, message)


@pytest.mark.parametrize("error", [UnreachableError, SilentError, UnauthorizedError, TooManyRequestsError, FencedError])
def test_errors_of_the_server_end_the_pass(error):
    assert ends_pass(error("no"))


@pytest.mark.parametrize("error", [InvalidError, ForbiddenError, ConflictError, NotFoundError, ServerError])
def test_errors_of_one_child_do_not(error):
    assert not ends_pass(error("no"))


def test_a_namespace_that_is_being_deleted_ends_the_pass():
    assert ends_pass(ForbiddenError("no", status=403, causes=(Cause("", "", "NamespaceTerminating"),)))
