"""`swarm-memory migrate`: brings legacy memory into a running service or a database file."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from swarm_operator.cmd.memory.calling import add_output, add_service
from swarm_operator.cmd.memory.codes import FAILED, OK, complain
from swarm_operator.cmd.memory.flags import Flags, add_object_store
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.progress import bar
from swarm_operator.cmd.memory.values import swarm_id

_QUARANTINE: Final = "migration-quarantine.ndjson"
_SUMMARY: Final = ("complete", "problem", "totals", "kinds")
_LONGEST_PROBLEM: Final = 1000
"""Characters: a message of a container that has ended has at most 4 KiB."""
_INTERVAL: Final = 1.0
"""Seconds between two lines about the progress."""


def add(commands: Any) -> None:
    """Add `migrate`."""
    text = "bring legacy memory (claude-flow's JSON and SQLite files, exports) into a service or a database file"
    parser = commands.add_parser("migrate", help=text, description=text)
    parser.set_defaults(run=_migrate)
    parser.add_argument("--source", metavar="PATH", type=Path, required=True, help="directory or file to migrate")
    parser.add_argument(
        "--target", metavar="URL|FILE", required=True,
        help="http://HOST:PORT of a service, or a database file that no service has open; made if it is not there",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="write nothing, and print the same report")
    parser.add_argument(
        "--existing", choices=("keep", "newer", "overwrite"), default="keep",
        help="what becomes of entries that the target has with another value (default: keep)",
    )  # fmt: skip
    parser.add_argument("--report", metavar="FILE", type=Path, help="write the report to a file, too")
    parser.add_argument(
        "--quarantine", metavar="FILE", type=Path,
        help=f"takes what can't be migrated; default: {_QUARANTINE} beside the report; a dry run writes none by itself",
    )  # fmt: skip
    parser.add_argument(
        "--archive", metavar="DESTINATION",
        help="copy report and quarantine to DESTINATION/SWARM/~migration; a folder, or the URL of an object store",
    )  # fmt: skip
    parser.add_argument(
        "--summary", metavar="FILE", type=Path, help="write the totals, or the problem, as JSON into FILE"
    )
    parser.add_argument(
        "--accept-quarantine", action="store_true", help="exit with 0 although something is in quarantine"
    )
    flag = Flags(parser)
    flag("--scratch", "SCRATCH", "", str, "directory for copies of the sources; default: the system's temporary one")
    flag("--swarm-id", "SWARM_ID", "default", swarm_id, "the swarm of a database file or of an archive")
    add_object_store(flag)
    add_service(flag)
    add_output(parser)


def _migrate(options: argparse.Namespace) -> int:
    from swarm_operator.memory.transfer.migration.run import Settings, migrate  # noqa: PLC0415
    from swarm_operator.memory.transfer.migration.targets import Service  # noqa: PLC0415
    from swarm_operator.memory.transfer.ndjson import Existing  # noqa: PLC0415

    quarantine = options.quarantine
    if quarantine is None and not options.dry_run:
        quarantine = (options.report.parent if options.report else Path()) / _QUARANTINE
    target: Service | Path = Path(options.target)
    if options.target.startswith(("http://", "https://")):
        target = Service(
            options.target,
            Path(options.token_file) if options.token_file else None,
            options.ca_file,
            float(options.retry_for),
        )
    settings = Settings(
        source=options.source, target=target, swarm_id=options.swarm_id, existing=Existing(options.existing),
        dry_run=options.dry_run, quarantine=quarantine, scratch=Path(options.scratch) if options.scratch else None,
        outputs=(options.report,) if options.report else (),
    )  # fmt: skip
    with _progress() as progress:
        try:
            report = asyncio.run(migrate(settings, progress))
        except ValueError as error:  # the URL
            return complain(error)
    document = report.document()
    problem = report.problem
    if options.report is not None:
        try:
            _write(options.report, document)
        except OSError as error:
            problem = problem or f"{options.report}: {error.strerror or error}"
    if options.archive:
        problem = asyncio.run(_archive(options, document)) or problem
    if options.summary is not None:
        short = {name: document[name] for name in _SUMMARY} | {"problem": problem and problem[:_LONGEST_PROBLEM]}
        options.summary.write_text(json.dumps(short))
    Output(options.output).document(document)
    if problem is not None:
        return complain(problem)
    if report.quarantined:
        place = f": see {report.quarantine}" if report.quarantine else ""
        complain(f"{report.quarantined} items can't be migrated{place}")
        return OK if options.accept_quarantine else FAILED
    return OK


async def _archive(options: argparse.Namespace, report: dict[str, Any]) -> str | None:
    """Copy the report and the quarantine to a destination. Return what went wrong, or None."""
    from swarm_operator.memory.core.errors import MemoryStoreError  # noqa: PLC0415
    from swarm_operator.memory.transfer.backups.location import open_destination  # noqa: PLC0415
    from swarm_operator.memory.transfer.migration.archive import archive  # noqa: PLC0415

    try:
        destination = open_destination(
            options.archive, options=options.backups_options, credentials=options.backups_credentials
        )
        await archive(destination, options.swarm_id, report)
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
