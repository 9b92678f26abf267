"""`swarm-memory migrate`: brings legacy memory into a running service or a database file."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from swarm_operator.cmd.memory.codes import FAILED, OK, complain
from swarm_operator.cmd.memory.flags import OBJECT_STORE, OUTPUT, RETRIES, credentials, flag
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import FILE, FOLDER, OneOf, command
from swarm_operator.cmd.memory.progress import bar
from swarm_operator.cmd.memory.values import swarm_id

_QUARANTINE: Final = "migration-quarantine.ndjson"
_SUMMARY: Final = ("complete", "problem", "totals", "kinds")
_LONGEST_PROBLEM: Final = 1000
"""Characters: a message of a container that has ended has at most 4 KiB."""
_INTERVAL: Final = 1.0
"""Seconds between two lines about the progress."""


@command("migrate")
@click.option("--source", metavar="PATH", type=FILE, required=True, help="directory or file to migrate")
@click.option(
    "--target", metavar="URL|FILE", required=True,
    help="http://HOST:PORT of a service, or a database file that no service has open; created if missing",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="write nothing, and print the same report")
@click.option(
    "--existing", type=OneOf("keep", "newer", "overwrite"), default="keep", show_default=True,
    help="which value to use if the target has another",
)  # fmt: skip
@click.option("--report", metavar="FILE", type=FILE, help="also write the report to this file")
@click.option(
    "--quarantine", metavar="FILE", type=FILE,
    help=f"file for items that can't be migrated; default: {_QUARANTINE} beside the report",
)  # fmt: skip
@click.option(
    "--archive", metavar="DESTINATION",
    help="copy report and quarantine to DESTINATION/SWARM/~migration; a folder, or the URL of an object store",
)  # fmt: skip
@click.option("--summary", metavar="FILE", type=FILE, help="write the totals, or the problem, as JSON into FILE")
@click.option("--accept-quarantine", is_flag=True, help="exit with 0 even if there are quarantined items")
@flag("--scratch", "SCRATCH", None, FOLDER, "directory for copies of the sources; default: the system's temporary one")
@flag("--swarm-id", "SWARM_ID", "default", swarm_id, "swarm of a database file or of an archive")
@OBJECT_STORE
@credentials()
@RETRIES
@OUTPUT
def migrate(
    *, source: Path, target: str, dry_run: bool, existing: str, report: Path | None, quarantine: Path | None,
    archive: str | None, summary: Path | None, accept_quarantine: bool, scratch: Path | None, swarm_id: str,
    backups_options: Path | None, backups_credentials: Path | None, token_file: Path | None, ca_file: Path | None,
    retry_for: int, output: str,
) -> int:  # fmt: skip
    """Bring legacy memory (claude-flow's JSON and SQLite files, exports) into a service or a database file."""
    import asyncio  # noqa: PLC0415 - `--help` imports all modules of commands

    from swarm_operator.memory.transfer.importer import Existing  # noqa: PLC0415
    from swarm_operator.memory.transfer.migration import run  # noqa: PLC0415
    from swarm_operator.memory.transfer.migration.targets import Service  # noqa: PLC0415

    if quarantine is None and not dry_run:
        quarantine = (report.parent if report else Path()) / _QUARANTINE
    place: Service | Path = Path(target)
    if target.startswith(("http://", "https://")):
        place = Service(target, token_file, ca_file, float(retry_for))
    settings = run.Settings(
        source=source, target=place, swarm_id=swarm_id, existing=Existing(existing), dry_run=dry_run,
        quarantine=quarantine, scratch=scratch, outputs=(report,) if report else (),
    )  # fmt: skip
    with _progress() as progress:
        try:
            migrated = asyncio.run(run.migrate(settings, progress))
        except ValueError as error:  # the URL
            return complain(error)
    document = migrated.document()
    problem = migrated.problem
    if report is not None:
        try:
            _write(report, document)
        except OSError as error:
            problem = problem or f"{report}: {error.strerror or error}"
    if archive:
        copied = _archive(archive, document, swarm_id, options=backups_options, credentials=backups_credentials)
        problem = asyncio.run(copied) or problem
    if summary is not None:
        short = {name: document[name] for name in _SUMMARY} | {"problem": problem and problem[:_LONGEST_PROBLEM]}
        summary.write_text(json.dumps(short))
    Output(output).document(document)
    if problem is not None:
        return complain(problem)
    if migrated.quarantined:
        beside = f": see {migrated.quarantine}" if migrated.quarantine else ""
        complain(f"{migrated.quarantined} items can't be migrated{beside}")
        return OK if accept_quarantine else FAILED
    return OK


async def _archive(
    url: str, report: dict[str, Any], swarm_id: str, *, options: Path | None, credentials: Path | None
) -> str | None:
    """Copy the report and the quarantine to a destination. Return what went wrong, or None."""
    from swarm_operator.memory.core.errors import MemoryStoreError  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.location import open_destination  # noqa: PLC0415
    from swarm_operator.memory.transfer.migration.archive import archive  # noqa: PLC0415

    try:
        await archive(open_destination(url, options=options, credentials=credentials), swarm_id, report)
    except (MemoryStoreError, OSError) as error:
        return f"archive: {error}"
    return None


def _write(path: Path, document: dict[str, Any]) -> None:
    from swarm_operator.memory.atomicfile import AtomicFile, remove_stale  # noqa: PLC0415

    remove_stale(path.parent)
    file = AtomicFile.create(path, replace=True)
    try:
        file.path.write_text(json.dumps(document, indent=2) + "\n")
        file.publish()
    finally:
        file.discard()


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Any], None]]:
    """Give what is told how far the migration is: a bar on a terminal, else lines of JSON on standard error."""
    with bar("migrate", of_bytes=False) as show:
        last = ("", 0.0)

        def tell(progress: Any) -> None:
            nonlocal last
            if show is not None:
                show(progress.done, progress.of)
                return
            phase, at = last
            ended = progress.done == progress.of
            if progress.phase == phase and not ended and time.monotonic() < at + _INTERVAL:
                return
            last = (progress.phase, time.monotonic())
            line = {"phase": progress.phase, "done": progress.done, "of": progress.of, "source": progress.source}
            print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201 - this is a command line

        yield tell
