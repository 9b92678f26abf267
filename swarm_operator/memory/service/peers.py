"""`peers.json`: other memories that this one is brought together with, beside the tokens.

    {"peers": [{"name": "east", "url": "http://east-memory.east.svc:8080", "token": "..."}]}

The token is one of theirs, which may read and write what is to be brought together. Nobody but who writes this file
chooses where the service sends what it holds: callers know peers by name.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.slots import Slots
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.access.json_file import NAME, read_list
from swarm_operator.memory.service.errors import BadTokenFileError, PeerError
from swarm_operator.memory.transfer.ndjson import Existing, Importer, Outcome, export_lines

FILE: Final = "peers.json"
_MAX_BYTES: Final = 64 * 1024
_MAX_PEERS: Final = 20
_MOST_SECONDS: Final = 3600.0
"""For one synchronization: a peer that has gone silent would keep others out for ever."""
_URL: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True)
class Synced:
    """What was written on either side, by what became of the entries.

    Attributes:
        pulled: here.
        pushed: there.
    """

    pulled: dict[Outcome, int]
    pushed: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Peer:
    url: str
    token: str = field(repr=False)


class Peers:
    """The other memories.

    Args:
        directory: where the file is; it is read each time that it is needed.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._slots = Slots(1, "a peer is being synchronized, which is the most at one time")

    async def sync(self, store: Store, target: str) -> Synced:
        """Bring the entries of both together: what only one side has goes to the other, of two values the newer stays.

        What was deleted on one side comes back from the other. It may be repeated, also after a failure.

        Raises:
            InvalidInputError: there is no such peer, or the file is not as it should be.
            OverloadedError: another one is under way.
            PeerError: the peer does not answer, or refuses; what was written by then stays.
        """
        # Loaded where it is needed: it takes 0.1 s and some MiB.
        from swarm_operator.memory.client import MemoryClient, MemoryClientError  # noqa: PLC0415

        peer = self._find(target)
        with self._slots.taken():
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
            raise InvalidInputError("target", f"nothing before the file of peers is mended ({error})") from None
        if name not in peers:
            known = f"one of {', '.join(sorted(peers))}" if peers else f"nothing: there is no peer in {FILE}"
            raise InvalidInputError("target", known)
        return peers[name]


def _read(path: Path) -> dict[str, _Peer]:
    """The peers by name; none without a file.

    Raises:
        BadTokenFileError: says where and what is allowed, never what is there.
    """
    items = read_list(path, "peers", max_bytes=_MAX_BYTES, max_items=_MAX_PEERS)
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
            raise BadTokenFileError(f"{place}.name: each has its own")
        found[item["name"]] = _Peer(item["url"], item["token"])
    return found
