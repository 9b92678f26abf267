"""Synchronization with the peers in `peers.json`, a file in the token directory.

    {"peers": [{"name": "east", "url": "http://east-memory.east.svc:8080", "token": "..."}]}

The token is issued by the peer and needs read and write access to the synchronized namespaces. Only this file
determines where data is sent: callers identify peers by name.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access import secret_file
from swarm_operator.memory.service.access.rights import ADMIN
from swarm_operator.memory.service.errors import BadTokenFileError, PeerError
from swarm_operator.memory.service.quotas import Quota
from swarm_operator.memory.transfer.export import export_lines
from swarm_operator.memory.transfer.importer import Existing, Importer, Outcome
from swarm_operator.shared import secret_list
from swarm_operator.shared.secret_list import NAME, SecretFormatError

FILE: Final = "peers.json"
_MAX_BYTES: Final = 64 * 1024
_MAX_PEERS: Final = 20
_MOST_SECONDS: Final = 3600.0
"""Timeout of one synchronization: an unresponsive peer would otherwise block other synchronizations forever."""
_URL: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True)
class Synced:
    """Result of a synchronization: counts of entries by outcome.

    Attributes:
        pulled: entries written to this store.
        pushed: entries written to the peer.
    """

    pulled: dict[Outcome, int]
    pushed: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Peer:
    url: str
    token: str = field(repr=False)


class Peers:
    """Peers of this service.

    Args:
        directory: directory of the file, which is read on each use.
        quota: limit of concurrent synchronizations.
    """

    def __init__(self, directory: Path, quota: Quota) -> None:
        self._path = directory / FILE
        self._quota = quota

    async def sync(self, store: Store, target: str) -> Synced:
        """Synchronize the entries with a peer: copy missing entries in both directions; the newer of two values wins.

        Entries deleted on one side are restored from the other. The call is repeatable, also after a failure.

        Raises:
            InvalidInputError: the peer is unknown, or the file is invalid.
            OverloadedError: another synchronization is in progress.
            PeerError: the peer does not respond or rejects a request; completed writes are kept.
        """
        # Imported on use: the import takes 0.1 s and some MiB.
        from swarm_operator.memory.client import MemoryClient, MemoryClientError  # noqa: PLC0415

        peer = self._find(target)
        with self._quota.holding(ADMIN):  # only an admin synchronizes
            try:
                async with asyncio.timeout(_MOST_SECONDS), MemoryClient(peer.url, token=peer.token) as remote:
                    importer = Importer(store, Existing.NEWER)
                    async for line in remote.swarm.export(everything=True):
                        await importer.add(line)
                    await importer.finish()
                    pushed = await remote.swarm.import_(
                        export_lines(store, namespaces=[]), existing=Existing.NEWER.value
                    )
            except MemoryClientError as error:
                raise PeerError(f"the peer {target}: {error}", transient=error.transient) from error
            except TimeoutError:
                late = f"the peer {target}: it took longer than {_MOST_SECONDS:g} seconds"
                raise PeerError(late, transient=True) from None
        return Synced(importer.counts, pushed)

    def _find(self, name: str) -> _Peer:
        try:
            peers = _read(self._path)
        except BadTokenFileError as error:
            raise InvalidInputError("target", f"{FILE} is invalid; fix it first ({error})") from None
        if name not in peers:
            known = f"one of {', '.join(sorted(peers))}" if peers else f"a peer of {FILE}, which has none"
            raise InvalidInputError("target", known)
        return peers[name]


def _read(path: Path) -> dict[str, _Peer]:
    """Return the peers by name; an empty dictionary if the file does not exist.

    Raises:
        BadTokenFileError: the file is invalid; the message names the location and what is allowed, never the content.
    """
    text = secret_file.read(path, _MAX_BYTES)
    if text is None:
        return {}
    try:
        items = secret_list.parse(text, "peers", max_bytes=_MAX_BYTES, max_items=_MAX_PEERS)
    except SecretFormatError as error:
        raise BadTokenFileError(f"{path}: {error}") from None
    found: dict[str, _Peer] = {}
    for index, item in enumerate(items):
        place = f"{path}: peers[{index}]"
        if type(item) is not dict or item.keys() != {"name", "url", "token"}:
            raise BadTokenFileError(f"{place}: an object with name, url and token is allowed")
        for member, allowed, words in (
            ("name", NAME, "at most 63 of a-z, 0-9 and, between them, -"),
            ("url", _URL, "http:// or https://, a host and perhaps a path"),
            ("token", _TOKEN, "at most 4096 printable ASCII characters without blanks"),
        ):
            if type(item[member]) is not str or not allowed.fullmatch(item[member]):
                raise BadTokenFileError(f"{place}.{member}: {words} are allowed")
        if item["name"] in found:
            raise BadTokenFileError(f"{place}.name: repeated; each peer needs a name of its own")
        found[item["name"]] = _Peer(item["url"], item["token"])
    return found
