"""A destination in an object store: S3, Google Cloud Storage or Azure Blob Storage, by obstore.

Large files are sent as multipart uploads: an object exists once its last part is stored. The parts of an interrupted
upload appear in no listing; a lifecycle rule of the bucket removes them. Files are read in ranges, and each range is
retried separately.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from swarm_operator.memory.transfer.backups.destination import PART, Destination, StoredFile
from swarm_operator.memory.transfer.backups.errors import (
    DestinationConfigError,
    DestinationDeniedError,
    DestinationError,
    DestinationFullError,
    DestinationMissingError,
    DestinationUnreachableError,
)
from swarm_operator.memory.transfer.backups.options import Options

CREDENTIALS: Final = {
    "s3": ("access_key_id", "secret_access_key", "session_token"),
    "gs": ("service_account_key",),
    "az": ("account_name", "account_key", "sas_key", "client_id", "client_secret", "tenant_id"),
}
"""Names of the files in the directory of credentials, in lower or upper case, perhaps after one of _PREFIXES."""
_PREFIXES: Final = ("aws_", "google_", "azure_storage_", "azure_")
_MAX_CREDENTIAL_BYTES: Final = 64 * 1024
_CONCURRENT_PARTS: Final = 2
_MAX_PARTS: Final = 9_000
"""S3 takes 10,000 parts of an object."""
_RETRIES: Final = 10
_MAX_REASON: Final = 300
_QUERY: Final = re.compile(r"(https?://[^\s?]*)\?\S*")
"""A URL with a query: for Azure the query contains the signature of the request."""
_NO_BUCKET: Final = re.compile(
    r"NoSuchBucket|ContainerNotFound|ContainerBeingDeleted|bucket (does not exist|was not found)"
)
_FULL: Final = re.compile(
    r"status code: 507|InsufficientStorage|StorageFull|QuotaExceeded|EntityTooLarge|no space left"
)
_DENIED: Final = re.compile(
    r"status code: 40[13]|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|"
    r"AuthenticationFailed|performing token request|[Mm]issing [Cc]redentials|[Nn]o [Cc]redentials"
)
_UNREACHABLE: Final = re.compile(
    r"error sending request|client error \(|error decoding response body|request or response body error|"
    r"status code: 5\d\d|after \d+ retries|[Tt]imed? ?out"
)


class BucketDestination(Destination):
    """Objects of a bucket, below a prefix.

    Args:
        scheme: s3, gs or az.
        bucket: name of the bucket or container.
        prefix: path in the bucket; may be empty.
        options: see Options.
        credentials: directory of the credentials, read again for each call; None: use the environment's credentials.
    """

    def __init__(self, scheme: str, bucket: str, prefix: str, options: Options, credentials: Path | None) -> None:
        self._scheme = scheme
        self._bucket = bucket
        self._prefix = prefix
        self._options = options
        self._credentials = credentials
        self._given: dict[str, str] = {}
        self._opened: Any = None
        self.url = "/".join(filter(None, (f"{scheme}://{bucket}", prefix)))

    def below(self, folder: str) -> Destination:
        """Return the destination at a folder of this one."""
        prefix = "/".join(filter(None, (self._prefix, folder)))
        return BucketDestination(self._scheme, self._bucket, prefix, self._options, self._credentials)

    async def put(self, path: str, parts: AsyncIterator[bytes], size: int) -> None:
        """Write or replace an object. The object appears only when it is complete."""
        import obstore  # noqa: PLC0415 - takes 10 MB of memory, which folders do without

        source = _Source(parts)
        with self._translated(creates=True):
            try:
                await obstore.put_async(
                    await self._store(), self._key(path), source,
                    use_multipart=size > PART, chunk_size=max(PART, size // _MAX_PARTS + 1),
                    max_concurrency=_CONCURRENT_PARTS,
                )  # fmt: skip
            except Exception:
                if source.failure is not None:
                    raise source.failure from None
                raise

    async def size(self, path: str) -> int:
        """Return the bytes of an object."""
        import obstore  # noqa: PLC0415

        with self._translated():
            return int((await obstore.head_async(await self._store(), self._key(path)))["size"])

    async def read(self, path: str, size: int) -> AsyncIterator[bytes]:
        """Yield an object in parts."""
        import obstore  # noqa: PLC0415

        with self._translated():
            store = await self._store()
            for start in range(0, size, PART):
                end = min(start + PART, size)
                yield bytes(await obstore.get_range_async(store, self._key(path), start=start, end=end))

    async def list(self, folder: str = "") -> list[StoredFile]:
        """Return all objects below a folder."""
        import obstore  # noqa: PLC0415

        with self._translated(creates=True):
            found = await obstore.list(await self._store(), self._key(folder) or None).collect_async()
        skipped = len(self._prefix) + 1 if self._prefix else 0
        return [
            StoredFile(each["path"][skipped:], each["size"], int(each["last_modified"].timestamp() * 1000))
            for each in found
        ]

    async def delete(self, path: str) -> None:
        """Delete an object."""
        import obstore  # noqa: PLC0415

        with self._translated(), contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(await self._store(), self._key(path))

    def _key(self, path: str) -> str:
        return "/".join(filter(None, (self._prefix, path)))

    async def _store(self) -> Any:
        """Return the object store with the current credentials."""
        given = await asyncio.to_thread(self._read_credentials)
        if self._opened is None or given != self._given:
            self._given, self._opened = given, None
            self._opened = await asyncio.to_thread(self._open, given)
        return self._opened

    def _open(self, given: dict[str, str]) -> Any:
        from obstore import store  # noqa: PLC0415

        options = self._options
        client: dict[str, Any] = {
            "allow_http": options.allow_http,
            "connect_timeout": timedelta(seconds=min(options.timeout, 10)),
            # This limits a complete request. The library's `read_timeout` also runs while a part is being sent.
            "timeout": timedelta(seconds=options.timeout),
        }
        if options.ca_file is not None:
            client["root_certificate"] = self._certificates(options.ca_file)
        retry: dict[str, Any] = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=options.retry_for)}
        config: dict[str, Any] = {**given, **({"skip_signature": True} if options.anonymous else {})}
        match self._scheme:
            case "s3":
                config |= _given(endpoint=options.endpoint, region=options.region)
                config |= {"virtual_hosted_style_request": options.virtual_hosted_style, "disable_bulk_delete": True}
                opened: type[Any] = store.S3Store
            case "gs":
                config |= _given(base_url=options.endpoint)
                opened = store.GCSStore
            case _:
                config |= _given(endpoint=options.endpoint, account_name=options.account)
                opened = store.AzureStore
        try:
            return opened(self._bucket, client_options=client, retry_config=retry, **config)
        except Exception as error:  # noqa: BLE001 - the library has no class for what its constructors raise
            raise DestinationConfigError(f"{self.url}: {self._redacted(error)}") from None

    def _certificates(self, file: str) -> bytes:
        try:
            return Path(file).read_bytes()
        except OSError as error:
            raise DestinationConfigError(f"ca_file: {file}: {error.strerror}") from error

    def _read_credentials(self) -> dict[str, str]:
        if self._credentials is None:
            return {}
        found = {}
        try:
            for file in sorted(self._credentials.iterdir()):
                name = file.name.lower()
                for prefix in _PREFIXES:
                    name = name.removeprefix(prefix)
                if name in CREDENTIALS[self._scheme] and file.is_file():
                    with file.open(encoding="utf-8") as opened:
                        found[name] = opened.read(_MAX_CREDENTIAL_BYTES).strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise DestinationConfigError(f"{self._credentials}: {reason}") from None
        if not found:
            names = ", ".join(CREDENTIALS[self._scheme])
            raise DestinationConfigError(
                f"{self._credentials}: no credential for {self._scheme}; a file for each of {names}"
            )
        return found

    @contextlib.contextmanager
    def _translated(self, *, creates: bool = False) -> Iterator[None]:
        """Raise errors of the library as DestinationError, without secrets; FileNotFoundError unless `creates`."""
        try:
            yield
        except DestinationError:
            raise
        except FileNotFoundError as error:
            text = str(error)
            if not creates and not _NO_BUCKET.search(text):
                raise FileNotFoundError(self.url) from None
            raise DestinationMissingError(
                f"{self.url}: there is no bucket or container {self._bucket}; create it"
            ) from None
        except Exception as error:
            if not type(error).__module__.startswith("obstore"):
                raise
            raise self._described(error) from None

    def _described(self, error: Exception) -> DestinationError:
        text, kind = str(error), type(error).__name__
        reason = self._redacted(error)
        if _NO_BUCKET.search(text):
            return DestinationMissingError(f"{self.url}: there is no bucket or container {self._bucket}; create it")
        if _FULL.search(text):
            return DestinationFullError(f"{self.url}: no room left: {reason}")
        if kind in {"PermissionDeniedError", "UnauthenticatedError"} or _DENIED.search(text):
            return DestinationDeniedError(f"{self.url}: the credentials are refused: {reason}")
        if _UNREACHABLE.search(text):
            return DestinationUnreachableError(f"{self.url}: {reason}")
        return DestinationError(f"{self.url}: {reason}")

    def _redacted(self, error: Exception) -> str:
        """Return the first line of the error's text, without credentials and without queries of URLs."""
        text = _QUERY.sub(r"\1", str(error).strip().partition("\n")[0])
        for secret in self._given.values():
            text = text.replace(secret, "***")
        return text[:_MAX_REASON]


class _Source:
    """Parts of a file for the library. Remembers the error of the parts, which the library would wrap."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self._parts = parts
        self.failure: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = error
            raise


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}
