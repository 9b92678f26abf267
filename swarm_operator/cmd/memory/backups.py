"""`swarm-memory backups`: on a destination, without a service and without a cluster."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

from swarm_operator.cmd.memory.codes import FAILED, NOT_FOUND, OK, complain
from swarm_operator.cmd.memory.flags import OBJECT_STORE, OUTPUT, flag
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import FILE, FOLDER, Command
from swarm_operator.cmd.memory.progress import bar
from swarm_operator.cmd.memory.values import swarm_id, switch

Run: TypeAlias = Callable[..., Coroutine[Any, Any, int]]
_LOOK: Final = 0.1
NO_DATABASE: Final = "no-database"
"""Code of the problem in a report on a directory without a database."""
_BACKUP: Final = "URL of a backup: DESTINATION/SWARM/NAME, as `list` prints it"


@click.group
def backups() -> None:
    """Make, list, verify, fetch, restore and delete backups where they lie; needs no service."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a backup or a destination is, and how an object store is reached."""

    location: str
    options: Path | None
    credentials: Path | None

    @contextlib.contextmanager
    def backup(self) -> Iterator[tuple[Any, str]]:
        """Give the catalog in which the backup is, and the backup's name."""
        from swarm_operator.memory.transfer.backups.location import split_location  # noqa: PLC0415

        folder, name = split_location(self.location)
        with self.catalog(folder) as catalog:
            yield catalog, name

    @contextlib.contextmanager
    def catalog(self, url: str, *, below: str = "", source: Any = None) -> Iterator[Any]:
        """Give the catalog at a URL or in a folder below, with a directory for copies that is removed afterwards."""
        from swarm_operator.memory.transfer.backups import catalog as catalogs  # noqa: PLC0415
        from swarm_operator.memory.transfer.backups.location import open_destination  # noqa: PLC0415

        destination = open_destination(url, options=self.options, credentials=self.credentials)
        with tempfile.TemporaryDirectory(prefix="swarm-memory-") as scratch:
            destination = destination.below(below) if below else destination
            yield catalogs.Catalog(destination, scratch=Path(scratch), source=source)


def _command(name: str, location: str = _BACKUP, columns: tuple[str, ...] = ()) -> Callable[[Run], click.Command]:
    """Make a coroutine function a command: it gets a place, what prints, and the command's own parameters."""

    def make(run: Run) -> click.Command:
        @backups.command(name, cls=Command)
        @click.argument("location", help=location)
        @OBJECT_STORE
        @OUTPUT
        @functools.wraps(run)
        def call(
            location: str,
            backups_options: Path | None,
            backups_credentials: Path | None,
            output: str,
            **parameters: Any,
        ) -> int:
            import asyncio  # noqa: PLC0415 - `--help` imports all modules of commands

            from swarm_operator.memory.core.errors import MemoryStoreError  # noqa: PLC0415
            from swarm_operator.memory.transfer.backups.errors import BackupNotFoundError  # noqa: PLC0415

            place = _Place(location=location, options=backups_options, credentials=backups_credentials)
            try:
                return asyncio.run(run(place, Output(output, columns), **parameters))
            except MemoryStoreError as error:
                # The operator takes the code from the last line of a Job's log.
                complain(f"{error.code}: {error}")
                return NOT_FOUND if isinstance(error, BackupNotFoundError) else FAILED

        return call

    return make


@_command("make")
@flag("--data-dir", "DATA_DIR", "data", FOLDER, "directory of the database")
@flag("--swarm-id", "SWARM_ID", "default", swarm_id, "swarm of the memory")
@flag("--enable-wal", "ENABLE_WAL", "true", switch, "the same as of the service")
@click.option("--reason", default="Requested", show_default=True, help="reason of the backup: a word")
@click.option("--missing-ok", is_flag=True, help="succeed if there is no database")
@click.option("--report", type=FILE, metavar="FILE", help="write the manifest, or the problem, as JSON into FILE")
async def make(place: _Place, out: Output, *, data_dir: Path, missing_ok: bool, report: Path | None, **how: Any) -> int:
    """Make a backup of the database of a stopped service, and verify it."""
    from swarm_operator.memory.core.errors import MemoryStoreError  # noqa: PLC0415
    from swarm_operator.memory.service.server import DATABASE_NAME  # noqa: PLC0415

    def tell(document: dict[str, Any]) -> None:
        if report is not None:
            report.write_text(json.dumps(document))

    database = data_dir / DATABASE_NAME
    if not database.exists():
        tell({"problem": {"code": NO_DATABASE, "detail": f"{database} does not exist"}})
        return OK if missing_ok else complain(f"data_dir: there is no {database}; the database must exist")
    try:
        manifest = asdict(await _make_from(database, place, **how))
    except MemoryStoreError as error:
        tell({"problem": {"code": error.code, "detail": str(error)}})
        raise
    tell(manifest)
    out.document(manifest)
    return OK


async def _make_from(database: Path, place: _Place, *, swarm_id: str, enable_wal: bool, reason: str) -> Any:
    """Make a backup of a database that no service has open, and return its manifest."""
    from swarm_operator.memory.sqlite import SqliteStore, StoreConfig  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.catalog import FINAL_BACKUP  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.location import split_location  # noqa: PLC0415

    folder, name = split_location(place.location)
    url, _, swarm = folder.rpartition("/")
    final = name if reason == FINAL_BACKUP else None
    config = StoreConfig(swarm_id=swarm_id, enable_wal=enable_wal, final_backup=final)
    async with SqliteStore.open(database, config) as store:
        # The destination exists; the first backup makes the swarm's folder in it.
        with place.catalog(url, below=swarm, source=store) as catalog:
            return await _watched(lambda progress: catalog.make(name, reason, progress=progress))


@_command(
    "list", "URL of a destination, or of a swarm's folder in it",
    ("name", "phase", "reason", "entries", "size", "verified_at", "location"),
)  # fmt: skip
async def list_(place: _Place, out: Output) -> int:
    """List all backups of a destination."""
    with place.catalog(place.location) as catalog:
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


@_command("verify")
async def verify(place: _Place, out: Output) -> int:
    """Read a backup back and compare it with its manifest."""
    with place.backup() as (catalog, name):
        return await _print(out, lambda progress: catalog.verify(name, progress=progress))


@_command("fetch")
@click.argument("file", type=FILE, help="new file")
async def fetch(place: _Place, out: Output, file: Path) -> int:
    """Copy a backup to a file."""
    with place.backup() as (catalog, name):
        return await _print(out, lambda progress: catalog.fetch(name, file, progress=progress))


@_command("restore")
@flag("--data-dir", "DATA_DIR", "data", FOLDER, "directory of the service's database")
async def restore(place: _Place, out: Output, data_dir: Path) -> int:
    """Make a backup the database of a stopped service that has none."""
    from swarm_operator.memory.service.server import DATABASE_NAME  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.new_database import restore_new  # noqa: PLC0415

    return await _print(
        out,
        lambda progress: restore_new(
            place.location, data_dir / DATABASE_NAME, options=place.options, credentials=place.credentials,
            progress=progress,
        ),
    )  # fmt: skip


@_command("delete")
async def delete(place: _Place, out: Output) -> int:
    """Delete a backup."""
    with place.backup() as (catalog, name):
        await catalog.delete(name)
    out.document({"deleted": place.location})
    return OK


async def _print(out: Output, run: Callable[[Any], Coroutine[Any, Any, Any]]) -> int:
    """Show how far a coroutine is, and print the manifest that it returns."""
    out.document(asdict(await _watched(run)))
    return OK


async def _watched(run: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    """Show how far a coroutine is, and return what it returns."""
    import asyncio  # noqa: PLC0415

    from swarm_operator.memory.transfer.backups.copies import Progress  # noqa: PLC0415

    progress = Progress()
    with bar("backup", of_bytes=True) as show:
        task = asyncio.ensure_future(run(progress))
        while not task.done():
            await asyncio.wait([task], timeout=_LOOK)
            if show is not None and progress.of:
                show(progress.bytes, progress.of)
        return await task
