"""CA certificates that a client trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

from swarm_operator.memory.client.errors import MemoryClientError


class Trust:
    """CA certificates from a file, from PEM data, or from the system.

    Args:
        file: a file with CA certificates, in PEM.
        data: CA certificates, in PEM, in place of a file.
    """

    def __init__(self, file: Path | None, data: str | None) -> None:
        self._file = file
        self._data = data
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context of new connections.

        Raises:
            MemoryClientError: the certificates cannot be read.
        """
        if self._context is None:
            try:
                # Read the file once: the content compared later must be the content in use.
                if self._file is not None:
                    self._data = self._file.read_text(encoding="ascii")
                if self._data is not None and not self._data.strip():
                    raise ValueError("no certificate")  # noqa: TRY301 - the system's would be trusted in place of none
                self._context = ssl.create_default_context(cadata=self._data)
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                source = self._file or "the given text"
                raise MemoryClientError(f"cannot read CA certificates in PEM from {source}: {error}") from error
        return self._context

    def renewed(self) -> bool:
        """Read the file again. Return whether it has changed, so that another attempt to connect may succeed."""
        before, self._context = self._data, None
        if self._file is None:
            return False
        self.context()
        return self._data != before
