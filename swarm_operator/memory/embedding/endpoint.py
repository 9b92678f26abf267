"""Embedder `http`: an endpoint compatible with OpenAI's POST /v1/embeddings."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson

from swarm_operator.memory.core.errors import ConfigError, EmbeddingError
from swarm_operator.memory.core.threads import LARGE_BYTES, run_on_thread
from swarm_operator.memory.core.vectors import MAX_WIDTH, NUMBER_BYTES, width
from swarm_operator.memory.embedding.answer import BadAnswerError, read_vectors
from swarm_operator.memory.embedding.settings import EmbedderSettings

MAX_CHARACTERS: Final = 8000
"""Maximum length of an embedded text; the rest is ignored. For models with a lower limit see `_vectors`."""

_SHORT: Final = 200
"""Length of a text that every model accepts: an endpoint that refuses such a text refuses all texts."""
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""
_TOO_MUCH: Final = frozenset({400, 413, 422})
"""Statuses of endpoints for a text or a request that is too long."""
_REFUSED_KEY: Final = frozenset({401, 403})
_FIRST_PAUSE: Final = 0.25
_MAX_PAUSE: Final = 8.0
_SHORT_PAUSE: Final = 2.0
"""Maximum seconds of a pause for which calls wait."""
_MAX_AWAY: Final = 30.0
"""Maximum seconds after a call without a response during which other calls fail at once."""
_MAX_RETRY_AFTER: Final = 300.0
_DIGITS: Final = 32
"""Maximum bytes of a number in a response: 17 digits, an exponent, and a separate line."""
_MAX_REASON_BYTES: Final = 16 * 1024
_MAX_REASON: Final = 200
_MAX_KEY_BYTES: Final = 16 * 1024


class _UnavailableError(EmbeddingError):
    """The endpoint does not respond or is busy."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class _RefusedTextsError(EmbeddingError):
    """The endpoint refuses the texts, perhaps because they are too long."""


class HttpEmbedder:
    """Gets vectors from an endpoint. Create with `http_embedder`.

    After a failure to connect, and while the endpoint asks for a pause (Retry-After), no requests are sent. Calls wait
    for a short pause and otherwise fail at once, so that searches do not wait for an endpoint that does not respond.

    Args:
        settings: the settings.
        session: sends the requests.
        sleep: waits between attempts.
        monotonic: returns seconds.
    """

    def __init__(
        self, settings: EmbedderSettings, session: aiohttp.ClientSession, *,
        sleep: Callable[[float], Awaitable[object]], monotonic: Callable[[], float],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._session = session
        self._sleep = sleep
        self._monotonic = monotonic
        self._url = f"{(settings.url or '').rstrip('/')}/embeddings"
        parts = urlsplit(self._url)
        self._source = f"embedder: {parts.scheme}://{parts.netloc}"
        self._trust = _Trust(settings.ca_file) if parts.scheme == "https" else None
        self._width = settings.width
        self._not_before = 0.0
        self._reason = ""
        self._away = 0

    @property
    def name(self) -> str:
        """See core.embedding. The same model at another URL has the same vectors."""
        return f"http/{self._settings.model}/{self.width}"

    @property
    def width(self) -> int:
        """See core.embedding."""
        assert self._width is not None  # noqa: S101 - http_embedder has found it out
        return self._width

    def of_name(self, name: str) -> HttpEmbedder | None:
        """Return an embedder of the same endpoint for a name; None if the name is not one of this kind."""
        kind, _, rest = name.partition("/")
        model, _, width_text = rest.rpartition("/")
        if kind != "http" or not model or not width_text.isdecimal():
            return None
        try:
            settings = replace(self._settings, model=model, width=int(width_text))
        except ConfigError:
            return None
        return HttpEmbedder(settings, self._session, sleep=self._sleep, monotonic=self._monotonic)

    async def discover(self) -> None:
        """Request the vector of a word to get the width. Raise EmbeddingError."""
        (vector,) = await self._ask(["width"])
        self._width = width(vector)

    async def embed(self, texts: Sequence[str]) -> Sequence[bytes]:
        """See core.embedding."""
        vectors = [bytes(NUMBER_BYTES * self.width)] * len(texts)
        # Endpoints refuse blank texts.
        places = [place for place, text in enumerate(texts) if text.strip()]
        for start in range(0, len(places), self._settings.batch):
            batch = places[start : start + self._settings.batch]
            found = await self._vectors([texts[place][:MAX_CHARACTERS] for place in batch])
            for place, vector in zip(batch, found, strict=True):
                vectors[place] = vector
        return vectors

    async def _vectors(self, texts: list[str]) -> list[bytes]:
        """Return the vectors. Send refused texts in smaller batches, and a single refused text truncated."""
        try:
            return await self._ask(texts)
        except _RefusedTextsError:
            middle = len(texts) // 2
            if middle:
                return [*await self._vectors(texts[:middle]), *await self._vectors(texts[middle:])]
            (text,) = texts
            if len(text) <= _SHORT:
                raise
            return await self._vectors([text[: len(text) // 2]])

    async def _ask(self, texts: list[str]) -> list[bytes]:
        """Send a request, with retries, until a response arrives or the time has passed."""
        pause = self._not_before - self._monotonic()
        if pause > _SHORT_PAUSE:
            raise EmbeddingError(f"{self._reason}; the next attempt is in {pause:.1f} s")
        deadline = self._monotonic() + self._settings.timeout
        backoff = _FIRST_PAUSE
        while True:
            if pause > 0:
                await self._sleep(pause)
            try:
                vectors = await self._send(texts, deadline - self._monotonic())
            except _UnavailableError as error:
                jittered = random.uniform(backoff / 2, backoff)  # noqa: S311 - not for cryptography
                pause = max(jittered, error.retry_after)
                backoff = min(2 * backoff, _MAX_PAUSE)
                ends = self._monotonic() + pause >= deadline
                if ends:
                    self._away += 1
                    pause = max(pause, min(2.0 ** min(self._away, 5), _MAX_AWAY))
                if ends or error.retry_after:
                    self._not_before, self._reason = self._monotonic() + pause, str(error)
                if ends:
                    raise EmbeddingError(f"{error}; the next attempt is in {pause:.1f} s") from error
            else:
                self._away = 0
                return vectors

    async def _send(self, texts: list[str], seconds: float) -> list[bytes]:
        """Send a request once."""
        body = orjson.dumps({"model": self._settings.model, "input": texts, "encoding_format": "float"})
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **self._authorization()}
        timeout = aiohttp.ClientTimeout(total=max(seconds, 0.001))
        secure = True if self._trust is None else self._trust.context(self._source)
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, timeout=timeout, allow_redirects=False, ssl=secure
            ) as response:
                if response.status != 200:
                    raise await self._failure(response)
                if response.content_type != "application/json":
                    raise EmbeddingError(f"{self._source}: it answers {response.content_type}, not application/json")
                limit = 64 * 1024 + len(texts) * (self._width or MAX_WIDTH) * _DIGITS
                answer = await _read(response, limit)
        except aiohttp.ClientConnectorCertificateError as error:
            raise EmbeddingError(f"{self._source}: its certificate is refused: {error.certificate_error}") from error
        except TimeoutError as error:
            raise _UnavailableError(f"{self._source}: no answer within {self._settings.timeout:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _UnavailableError(f"{self._source}: {error or type(error).__name__}") from error
        if answer is None:
            raise EmbeddingError(f"{self._source}: it answers more than {limit} bytes for {len(texts)} texts")
        try:
            if len(answer) <= LARGE_BYTES:
                return read_vectors(answer, count=len(texts), width=self._width)
            read = functools.partial(read_vectors, answer, count=len(texts), width=self._width)
            return await run_on_thread(read)
        except BadAnswerError as error:
            raise EmbeddingError(f"{self._source}: it answers {error}") from error

    async def _failure(self, response: aiohttp.ClientResponse) -> EmbeddingError:
        """Return the error for an unsuccessful response."""
        status = f"{self._source}: status {response.status}"
        if response.status in _REFUSED_KEY:
            # The response may contain a part of the key.
            return EmbeddingError(
                f"{status}: the key is refused" if self._settings.key_file else f"{status}: it wants a key"
            )
        if 300 <= response.status < 400:
            return EmbeddingError(f"{status}: a redirect, which is not followed; give the URL that it leads to")
        found = await _read(response, _MAX_REASON_BYTES) or b""
        reason = "".join(each if each.isprintable() else " " for each in found.decode("utf-8", "replace"))[:_MAX_REASON]
        message = f"{status}: {self._without_key(reason)}" if reason.strip() else status
        if response.status in _BUSY:
            return _UnavailableError(message, _retry_after(response.headers.get("Retry-After")))
        return _RefusedTextsError(message) if response.status in _TOO_MUCH else EmbeddingError(message)

    def _without_key(self, text: str) -> str:
        key = self._key()
        return text.replace(key, "***") if key else text

    def _authorization(self) -> dict[str, str]:
        key = self._key()
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _key(self) -> str | None:
        """Return the key. The file is read each time: Kubernetes replaces it when the Secret changes."""
        file = self._settings.key_file
        if file is None:
            return None
        try:
            with file.open("rb") as opened:
                key = opened.read(_MAX_KEY_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not ASCII"
            raise EmbeddingError(f"embedder_key_file: {file}: {reason}") from None
        if not key or not key.isprintable() or " " in key:
            raise EmbeddingError(f"embedder_key_file: {file}: one printable word is expected")
        return key


class _Trust:
    """CA certificates from a file, read again when the file changes, or from the system if the file is None."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._read: bytes | None = None
        self._context: ssl.SSLContext | None = None

    def context(self, source: str) -> ssl.SSLContext:
        """Return the context of new connections. Raise EmbeddingError."""
        try:
            content = None if self._file is None else self._file.read_bytes()
            if self._context is None or content != self._read:
                data = None if content is None else content.decode("ascii")
                if data is not None and not data.strip():
                    raise ValueError("no certificate")  # noqa: TRY301 - the system's would be trusted in place of none
                self._context, self._read = ssl.create_default_context(cadata=data), content
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise EmbeddingError(f"{source}: embedder_ca_file: {self._file}: {error}") from error
        return self._context


@contextlib.asynccontextmanager
async def http_embedder(
    settings: EmbedderSettings, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[HttpEmbedder]:  # fmt: skip
    """Yield the embedder, after its width is known.

    Raises:
        EmbeddingError: the settings name no width, and the endpoint did not respond.
    """
    # trust_env would send the credentials of a .netrc. The endpoint needs no cookies.
    async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        embedder = HttpEmbedder(settings, session, sleep=sleep, monotonic=monotonic)
        if settings.width is None:
            await embedder.discover()
        yield embedder


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Return the body; None if it is longer than the limit."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > limit:
            return None
    return bytes(body)


def _retry_after(header: str | None) -> float:
    """Return the seconds of a Retry-After, which has seconds or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return 0.0
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(0.0, seconds), _MAX_RETRY_AFTER)  # 0.0 for NaN, too
