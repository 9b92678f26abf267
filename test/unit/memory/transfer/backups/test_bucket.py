"""Errors of object stores: what they are called, and that no secret is in them."""

import json

import obstore
import pytest
from obstore.exceptions import GenericError, PermissionDeniedError

from swarm_operator.memory.transfer.backups.errors import (
    DestinationConfigError,
    DestinationDeniedError,
    DestinationError,
    DestinationFullError,
    DestinationMissingError,
    DestinationUnreachableError,
)
from swarm_operator.memory.transfer.backups.location import open_destination

SECRET = "hunter2hunter2"
AT = "Generic S3 error: Error performing GET http://127.0.0.1:507/bucket?sig=hunter2hunter2 in 507.401403ms - "
RETRIED = "Generic S3 error: Error performing PUT http://h/bucket in 3.2s, after 10 retries, retry_timeout: 5s - "


@pytest.fixture
def bucket(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "access_key_id").write_text("user\n")
    (keys / "SECRET_ACCESS_KEY").write_text(SECRET)
    (keys / "..data").mkdir()
    (keys / "other").write_text("x")
    (tmp_path / "options.json").write_text(json.dumps({"region": "r", "endpoint": "http://h", "allow_http": True}))
    return open_destination("s3://bucket/pre", options=tmp_path / "options.json", credentials=keys)


@pytest.mark.parametrize(("error", "kind"), [
    (GenericError(AT + "Server returned non-2xx status code: 400 Bad Request: retry"), DestinationError),
    (GenericError(AT + "Server returned non-2xx status code: 507 Insufficient Storage: "), DestinationFullError),
    (GenericError(AT + "status code: 403 Forbidden: <Code>QuotaExceeded</Code>"), DestinationFullError),
    (GenericError(AT + "Server returned non-2xx status code: 403 Forbidden: "), DestinationDeniedError),
    (PermissionDeniedError("The operation lacked the necessary privileges"), DestinationDeniedError),
    (GenericError("Generic GCS error: Error performing token request: Error performing GET http://m"),
     DestinationDeniedError),
    (GenericError(AT + "<Code>NoSuchBucket</Code>"), DestinationMissingError),
    (FileNotFoundError("Object at location pre not found: <Code>NoSuchBucket</Code>"), DestinationMissingError),
    (GenericError(RETRIED + "HTTP error: error sending request"), DestinationUnreachableError),
    (GenericError(RETRIED + "Server returned non-2xx status code: 503 Service Unavailable"),
     DestinationUnreachableError),
])  # fmt: skip
async def test_an_error_has_its_name_and_no_secret(bucket, monkeypatch, error, kind):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(obstore, "list", refuse)
    with pytest.raises(DestinationError) as caught:
        await bucket.list()
    assert type(caught.value) is kind
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith("s3://bucket/pre: ")
    assert caught.value.__cause__ is None


async def test_an_error_that_quotes_a_credential_is_told_without_it(bucket, monkeypatch):
    def refuse(*_, **__):
        raise GenericError(f"the key {SECRET} is too short\nand more of {SECRET}")

    monkeypatch.setattr(obstore, "list", refuse)
    with pytest.raises(DestinationError, match=r"the key \*\*\* is too short$"):
        await bucket.list()


async def test_a_missing_object_is_none_of_the_destinations_errors(bucket, monkeypatch):
    async def refuse(*_, **__):
        raise FileNotFoundError("Object at location pre/a not found: <Code>NoSuchKey</Code>")

    monkeypatch.setattr(obstore, "head_async", refuse)
    with pytest.raises(FileNotFoundError):
        await bucket.size("a")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"endpoint": 7}', '{"secret": "x"}', '{"timeout": 0}', '{"timeout": "5s"}', "{"]
)
def test_options_that_are_none_are_refused(tmp_path, text):
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(DestinationConfigError, match=r"options\.json: .*endpoint, region, account"):
        open_destination("s3://bucket", options=tmp_path / "options.json")


async def test_a_missing_file_of_authorities_or_directory_of_credentials_is_named(tmp_path):
    (tmp_path / "options.json").write_text('{"ca_file": "/none/ca.pem"}')
    with pytest.raises(DestinationConfigError, match=r"ca_file: /none/ca\.pem"):
        await open_destination("s3://bucket", options=tmp_path / "options.json").list()
    with pytest.raises(DestinationConfigError, match="keys: No such file"):
        await open_destination("s3://bucket", credentials=tmp_path / "keys").list()
