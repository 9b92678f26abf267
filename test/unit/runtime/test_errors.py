import pytest

from swarm_operator.runtime import errors

STATUS = {"kind": "Status", "reason": "Whatever", "message": "because"}


@pytest.mark.parametrize(
    ("code", "kind", "transient"),
    [
        (400, errors.BadRequestError, False),
        (401, errors.UnauthorizedError, True),
        (403, errors.ForbiddenError, True),
        (404, errors.NotFoundError, False),
        (409, errors.ConflictError, True),
        (410, errors.GoneError, True),
        (422, errors.InvalidError, False),
        (429, errors.TooManyRequestsError, True),
        (500, errors.ServerError, True),
        (503, errors.ServerError, True),
        (504, errors.ServerError, True),
        (418, errors.ApiError, False),
    ],
)
def test_each_status_code_has_its_own_error(code, kind, transient):
    error = errors.from_status(code, STATUS)
    assert type(error) is kind
    assert (error.status, error.reason, error.message, str(error)) == (code, "Whatever", "because", "because")
    assert error.transient is transient


def test_no_answer_is_transient_and_has_no_status():
    error = errors.UnreachableError("broken pipe")
    assert error.transient
    assert error.status == 0


def test_an_empty_status_still_makes_a_message():
    error = errors.from_status(503, {})
    assert (error.message, error.reason, error.retry_after, error.causes) == ("HTTP 503", "", None, ())


def test_the_header_wins_over_the_details():
    status = STATUS | {"details": {"retryAfterSeconds": 7}}
    assert errors.from_status(429, status).retry_after == 7.0
    assert errors.from_status(429, status, retry_after=2.0).retry_after == 2.0


def test_the_causes_name_the_fields():
    causes = [{"reason": "FieldValueInvalid", "field": "spec.size", "message": "too small"}, {"message": "odd"}]
    error = errors.from_status(422, STATUS | {"details": {"causes": causes}})
    assert error.causes == (("spec.size", "too small", "FieldValueInvalid"), ("", "odd", ""))


def test_a_namespace_that_is_being_deleted_is_told_from_other_refusals():
    causes = [{"reason": "NamespaceTerminating", "field": "metadata.namespace", "message": "being terminated"}]
    assert errors.from_status(403, STATUS | {"details": {"causes": causes}}).namespace_terminating
    assert not errors.from_status(403, STATUS).namespace_terminating
