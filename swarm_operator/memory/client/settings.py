"""Settings of the running service: `/admin/settings`. All calls require the admin token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from swarm_operator.memory.client.encoding import to_json
from swarm_operator.memory.client.transport import Transport

_PATH: Final = "/admin/settings"


class SettingsClient:
    """`/admin/settings`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def get(self) -> Mapping[str, Any]:
        """Return the current values of the settings that can be changed."""
        return await self._transport.request("GET", _PATH, _read)

    async def change(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change settings until the next start of the service. Return all current values.

        Args:
            settings: names and values, as `get` returns them. Other settings keep their values.

        Raises:
            MemoryRequestError: a value is invalid, or the setting does not exist; nothing was changed.
        """
        return await self._transport.request("PATCH", _PATH, _read, body=to_json(dict(settings)))


def _read(answer: Any) -> Mapping[str, Any]:
    return dict(answer)
