"""Settings of the embedder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from swarm_operator.memory.core.errors import ConfigError
from swarm_operator.shared.limits import EMBEDDER_BATCH, EMBEDDER_MODES, EMBEDDER_TIMEOUT, VECTOR_WIDTH, Range


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedderSettings:
    """Settings of the embedder. All settings except the mode apply to the mode http only.

    Raises:
        ConfigError: a value is not allowed; the message names the field.
    """

    mode: str = "none"
    """none: no embedder. static: the model that ships with the service. http: an endpoint compatible with OpenAI's."""

    url: str | None = None
    """URL of the endpoint up to its version, such as https://api.example.com/v1. Texts are posted to URL/embeddings."""

    model: str | None = None
    """Name of the model at the endpoint."""

    key_file: Path | None = None
    """File with the key, which is sent as the bearer token. The file is read for each request. None: no key is sent."""

    ca_file: Path | None = None
    """File with CA certificates in PEM that verify the endpoint's certificate. None: the system's."""

    width: int | None = None
    """Number of dimensions of the model's vectors. None: the service requests it from the endpoint at the start, and
    fails without a response."""

    timeout: float = 10.0
    """Maximum seconds to embed a batch, including retries."""

    batch: int = 64
    """Maximum number of texts in a request."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.mode not in EMBEDDER_MODES:
            raise ConfigError(f"embedder: {self.mode!r} is not allowed; {', '.join(EMBEDDER_MODES)} are")
        if self.mode == "http":
            self._check_endpoint()
        else:
            given = {"url": self.url, "model": self.model, "key_file": self.key_file, "ca_file": self.ca_file}
            for name, value in (given | {"width": self.width}).items():
                if value is not None:
                    raise ConfigError(f"embedder_{name}: not with embedder {self.mode}; it is for embedder http")

    def _check_endpoint(self) -> None:
        if self.url is None or not _is_endpoint(self.url):
            raise ConfigError(
                "embedder_url: needed with embedder http; http://HOST:PORT/v1 or https://HOST/v1,"
                " without user, query and fragment"
            )
        if not self.model:
            raise ConfigError("embedder_model: needed with embedder http; the name of the endpoint's model")
        if self.width is not None:
            _check_range("width", self.width, VECTOR_WIDTH)
        _check_range("timeout", self.timeout, EMBEDDER_TIMEOUT)
        _check_range("batch", self.batch, EMBEDDER_BATCH)


def _is_endpoint(url: str) -> bool:
    """Return whether a URL has only a scheme, a host and optionally a port and a path."""
    try:
        parts = urlsplit(url)
        named = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number
        return False
    return named and not ("@" in parts.netloc or "?" in url or "#" in url) and url.isascii() and url.isprintable()


def _check_range(name: str, value: float, allowed: Range) -> None:
    if not allowed.least <= value <= allowed.most:
        raise ConfigError(f"embedder_{name}: {value} is not allowed; {allowed.least} to {allowed.most} are")
