"""Stored forms of values that are compressed off the event loop. tables.compression has the format."""

from __future__ import annotations

import asyncio

from swarm_operator.memory.core.errors import InvalidInputError, OverloadedError
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.tables import compression


class Packer:
    """Brings values into their stored form, on other threads than the event loop's.

    Attributes:
        config: the settings. They may be replaced: each value is packed by those of its time.
    """

    def __init__(self, config: StoreConfig) -> None:
        self.config = config
        self._packing = 0

    async def pack(self, raw: bytes) -> compression.StoredValue:
        """Return the value in its stored form, compressed on a thread. Raise OverloadedError."""
        # Values that wait for a thread use memory like values in the writer's queue.
        if self._packing and self._packing + len(raw) > self.config.max_queue_bytes:
            raise OverloadedError(f"{self._packing} bytes of values are waiting to be compressed")
        self._packing += len(raw)
        try:
            return await asyncio.to_thread(compression.compress, raw, self.config.compression_threshold)
        finally:
            self._packing -= len(raw)

    def pack_now(self, raw: bytes) -> compression.StoredValue:
        """Return the value in its stored form. It is called on the writer's thread. Raise InvalidInputError."""
        if len(raw) > self.config.max_value_bytes:
            raise InvalidInputError("value", f"at most {self.config.max_value_bytes} bytes of JSON")
        return compression.compress(raw, self.config.compression_threshold)
