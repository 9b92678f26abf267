"""URLs of destinations and of backups.

The location of a swarm's backup is DESTINATION/SWARM/NAME.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.transfer.backups.bucket import BucketDestination
from swarm_operator.memory.transfer.backups.destination import Destination
from swarm_operator.memory.transfer.backups.errors import DestinationConfigError
from swarm_operator.memory.transfer.backups.folder import FolderDestination
from swarm_operator.memory.transfer.backups.manifest import check_name
from swarm_operator.memory.transfer.backups.options import Options

_SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~@+=:-]+")
_SCHEMES: Final = ("s3", "gs", "az")
_ALLOWED: Final = "file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_MAX_FOLDER: Final = 200


def open_destination(url: str, *, options: Path | None = None, credentials: Path | None = None) -> Destination:
    """Return the destination of a URL, without a request to it.

    Args:
        url: file:///FOLDER, s3://BUCKET/PREFIX, gs://..., az://CONTAINER/...; also the path of a folder.
        options: a JSON file, see Options.
        credentials: a directory with a file for each credential, as a Secret is mounted; see bucket.CREDENTIALS.

    Raises:
        DestinationConfigError: the URL or the options are not valid.
    """
    if "://" not in url and url:
        return FolderDestination(Path(url).absolute())
    parts = urlsplit(url)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise DestinationConfigError(f"{parts.scheme}://...: no user, query or fragment is allowed; {_ALLOWED}")
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return FolderDestination(Path(unquote(parts.path)))
    prefix = [segment for segment in parts.path.split("/") if segment]
    if parts.scheme not in _SCHEMES or not all(map(_SEGMENT.fullmatch, [parts.netloc, *prefix])):
        raise DestinationConfigError(f"{url[:100]} is no destination; {_ALLOWED}")
    return BucketDestination(parts.scheme, parts.netloc, "/".join(prefix), Options.read(options), credentials)


def folder_of(swarm_id: str) -> str:
    """Return the name of a swarm's folder: the swarm ID with bytes outside [A-Za-z0-9._-] written as =XX."""
    encoded = "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in swarm_id.encode())
    if not encoded.strip("."):
        encoded = encoded.replace(".", "=2E")
    # File names have at most 255 bytes.
    return encoded if len(encoded) <= _MAX_FOLDER else f"={hashlib.sha256(swarm_id.encode()).hexdigest()}"


def split_location(location: str) -> tuple[str, str]:
    """Return the URL of the parent folder of a backup, and the backup's name.

    Raises:
        DestinationConfigError: the location does not end with a name.
    """
    folder, _, name = location.rstrip("/").rpartition("/")
    try:
        return folder or "/", check_name(name)
    except InvalidInputError as error:
        raise DestinationConfigError(f"{location[:100]} is no location of a backup: {error}") from error
