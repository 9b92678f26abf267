"""`swarm-memory backups`: on a destination, without a service and without a cluster."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from swarm_operator.cmd.memory.calling import add_output
from swarm_operator.cmd.memory.codes import FAILED, NOT_FOUND, OK, complain
from swarm_operator.cmd.memory.flags import Flags, add_object_store
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.progress import bar
from swarm_operator.cmd.memory.values import swarm_id, switch

Command: TypeAlias = Callable[[argparse.Namespace], Coroutine[Any, Any, int]]
_COLUMNS: Final = ("name", "phase", "reason", "entries", "size", "verified_at", "location")
_LOOK: Final = 0.1
NO_DATABASE: Final = "no-database"
"""Code of the problem in a report on a directory without a database."""


def add(commands: Any) -> None:
    """Add `backups` and its commands."""
    text = "make, list, verify, fetch, restore and delete backups where they lie; needs no service"
    parser = commands.add_parser("backups", help=text, description=text)
    inner = parser.add_subparsers(metavar="COMMAND", required=True)
    backup = "URL of a backup: DESTINATION/SWARM/NAME, as `list` prints it"
    make = _add(inner, "make", _make, "make a backup of the database of a stopped service, and verify it", backup)
    flag = Flags(make)
    flag("--data-dir", "DATA_DIR", "data", Path, "where the database lies")
    flag("--swarm-id", "SWARM_ID", "default", swarm_id, "whose memory this is")
    flag("--enable-wal", "ENABLE_WAL", "true", switch, "as the service is started with")
    make.add_argument("--reason", default="Requested", help="why it is made, a word; default Requested")
    make.add_argument("--missing-ok", action="store_true", help="succeed if there is no database")
    make.add_argument(
        "--report", metavar="FILE", type=Path, help="write the manifest, or the problem, as JSON into FILE"
    )
    _add(
        inner, "list", _list, "list all backups of a destination", "URL of a destination, or of a swarm's folder in it"
    )
    _add(inner, "verify", _verify, "read a backup back and compare it with its manifest", backup)
    fetch = _add(inner, "fetch", _fetch, "copy a backup to a file", backup)
    fetch.add_argument("file", metavar="FILE", type=Path, help="is not there yet, and is there when all of it is")
    restore = _add(inner, "restore", _restore, "make a backup the database of a stopped service that has none", backup)
    Flags(restore)("--data-dir", "DATA_DIR", "data", Path, "where the service will look for its database")
    _add(inner, "delete", _delete, "delete a backup", backup)


def _add(commands: Any, name: str, run: Command, text: str, location: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=lambda options: _run(options, run))
    parser.add_argument("location", metavar="LOCATION", help=location)
    add_object_store(Flags(parser))
    add_output(parser)
    return parser


def _run(options: argparse.Namespace, run: Command) -> int:
    from swarm_operator.memory.core.errors import MemoryStoreError  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.errors import BackupNotFoundError  # noqa: PLC0415

    try:
        return asyncio.run(run(options))
    except MemoryStoreError as error:
        # The operator takes the code from the last line of a Job's log.
        complain(f"{error.code}: {error}")
        return NOT_FOUND if isinstance(error, BackupNotFoundError) else FAILED


async def _make(options: argparse.Namespace) -> int:
    from dataclasses import asdict  # noqa: PLC0415

    from swarm_operator.memory.core.errors import MemoryStoreError  # noqa: PLC0415
    from swarm_operator.memory.service.server import DATABASE_NAME  # noqa: PLC0415

    database = options.data_dir / DATABASE_NAME
    if not database.exists():
        _report(options, {"problem": {"code": NO_DATABASE, "detail": f"{database} does not exist"}})
        return OK if options.missing_ok else complain(f"data_dir: there is no {database}; the database must exist")
    try:
        manifest = await _make_from(database, options)
    except MemoryStoreError as error:
        _report(options, {"problem": {"code": error.code, "detail": str(error)}})
        raise
    _report(options, asdict(manifest))
    Output(options.output).document(asdict(manifest))
    return OK


async def _make_from(database: Path, options: argparse.Namespace) -> Any:
    """Make a backup of a database that no service has open, and return its manifest."""
    from swarm_operator.memory.sqlite import SqliteStore, StoreConfig  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.catalog import FINAL_BACKUP  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.location import split_location  # noqa: PLC0415

    folder, name = split_location(options.location)
    url, _, swarm = folder.rpartition("/")
    final = name if options.reason == FINAL_BACKUP else None
    config = StoreConfig(swarm_id=options.swarm_id, enable_wal=options.enable_wal, final_backup=final)
    async with SqliteStore.open(database, config) as store:
        # The destination exists; the first backup makes the swarm's folder in it.
        with _catalog(options, url, below=swarm, source=store) as catalog:
            return await _watched(lambda progress: catalog.make(name, options.reason, progress=progress))


def _report(options: argparse.Namespace, document: dict[str, Any]) -> None:
    if options.report is not None:
        options.report.write_text(json.dumps(document))


async def _list(options: argparse.Namespace) -> int:
    out = Output(options.output, _COLUMNS)
    with _catalog(options, options.location) as catalog:
        for stored in await catalog.list():
            manifest = stored.manifest
            out.row({
                "name": stored.name.rpartition("/")[2],
                "phase": "Completed" if stored.complete else "Failed" if stored.problem else "Incomplete",
                "reason": manifest and manifest.reason,
                "swarm_id": manifest and manifest.swarm_id,
                "entries": manifest and manifest.entries,
                "size": stored.size,
                "verified_at": manifest and manifest.verified_at,
                "location": stored.location,
                "problem": stored.problem and str(stored.problem),
            })  # fmt: skip
    out.flush()
    return OK


async def _verify(options: argparse.Namespace) -> int:
    with _one(options) as (catalog, name):
        return await _print(options, lambda progress: catalog.verify(name, progress=progress))


async def _fetch(options: argparse.Namespace) -> int:
    with _one(options) as (catalog, name):
        return await _print(options, lambda progress: catalog.fetch(name, options.file, progress=progress))


async def _restore(options: argparse.Namespace) -> int:
    from swarm_operator.memory.service.server import DATABASE_NAME  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.new_database import restore_new  # noqa: PLC0415

    return await _print(
        options,
        lambda progress: restore_new(
            options.location, options.data_dir / DATABASE_NAME, options=options.backups_options,
            credentials=options.backups_credentials, progress=progress,
        ),
    )  # fmt: skip


async def _delete(options: argparse.Namespace) -> int:
    with _one(options) as (catalog, name):
        await catalog.delete(name)
    Output(options.output).document({"deleted": options.location})
    return OK


async def _print(options: argparse.Namespace, run: Callable[[Any], Coroutine[Any, Any, Any]]) -> int:
    """Show how far a coroutine is, and print the manifest that it returns."""
    from dataclasses import asdict  # noqa: PLC0415

    Output(options.output).document(asdict(await _watched(run)))
    return OK


async def _watched(run: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Show how far a coroutine is, and return what it returns."""
    from swarm_operator.memory.transfer.backups.catalog import Progress  # noqa: PLC0415

    progress = Progress()
    with bar("backup", of_bytes=True) as show:
        task = asyncio.ensure_future(run(progress))
        while not task.done():
            await asyncio.wait([task], timeout=_LOOK)
            if show is not None and progress.of:
                show(progress.bytes, progress.of)
        return await task


@contextlib.contextmanager
def _one(options: argparse.Namespace) -> Iterator[tuple[Any, str]]:
    """Give the catalog in which a backup is, and the backup's name."""
    from swarm_operator.memory.transfer.backups.location import split_location  # noqa: PLC0415

    folder, name = split_location(options.location)
    with _catalog(options, folder) as catalog:
        yield catalog, name


@contextlib.contextmanager
def _catalog(options: argparse.Namespace, url: str, *, below: str = "", source: Any = None) -> Iterator[Any]:
    """Give the catalog at a URL or in a folder below, with a directory for copies that is removed afterwards."""
    from swarm_operator.memory.transfer.backups import catalog as catalogs  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.location import open_destination  # noqa: PLC0415

    destination = open_destination(url, options=options.backups_options, credentials=options.backups_credentials)
    with tempfile.TemporaryDirectory(prefix="swarm-memory-") as scratch:
        destination = destination.below(below) if below else destination
        yield catalogs.Catalog(destination, scratch=Path(scratch), source=source)
