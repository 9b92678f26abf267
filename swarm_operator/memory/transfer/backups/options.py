"""Options of an object store, read from a JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from swarm_operator.memory.transfer.backups.errors import DestinationConfigError

_MAX_BYTES: Final = 64 * 1024
_MAX_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of an object store.

    Attributes:
        endpoint: URL of the object store; None: the cloud's default.
        region: region of an S3 bucket.
        account: account of an Azure container.
        allow_http: whether an endpoint without TLS is allowed.
        virtual_hosted_style: whether the bucket is in the host name of S3.
        anonymous: whether requests are sent without credentials.
        ca_file: file with additional CA certificates, in PEM.
        timeout: seconds for a request, which sends or reads a part of at most 8 MiB.
        retry_for: seconds for which a failed request is retried.
    """

    endpoint: str | None = None
    region: str | None = None
    account: str | None = None
    allow_http: bool = False
    virtual_hosted_style: bool = False
    anonymous: bool = False
    ca_file: str | None = None
    timeout: float = 120.0
    retry_for: float = 60.0

    @classmethod
    def read(cls, file: Path | None) -> Options:
        """Return the options of a file; the defaults without one. Raise DestinationConfigError."""
        if file is None:
            return cls()
        try:
            with file.open("rb") as opened:
                document = json.loads(opened.read(_MAX_BYTES))
            _check(document)
            return cls(**document)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            names = ", ".join(each.name for each in fields(cls))
            raise DestinationConfigError(f"{file}: {reason}; a JSON object with members of {names}") from error


def _check(document: Any) -> None:
    """Raise TypeError unless the document is an object whose members have the declared types."""
    if type(document) is not dict:
        raise TypeError("no object")
    for each in fields(Options):
        _check_option(each.name, str(each.type), document.get(each.name))


def _check_option(name: str, kind: str, value: Any) -> None:
    if value is None:
        return
    allowed = {"str | None": (str,), "bool": (bool,), "float": (int, float)}[kind]
    if type(value) not in allowed or (kind == "float" and not 0 < value <= _MAX_SECONDS):
        raise TypeError(f"{name}: {value!r} is not allowed")
