"""`swarm-memory check`: on a file, without a service."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from swarm_operator.cmd.memory.calling import add_output
from swarm_operator.cmd.memory.codes import FAILED, OK, complain
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.progress import bar


def add(commands: Any) -> None:
    """Add it."""
    text = "check a database file that no service has open; changes nothing"
    parser = commands.add_parser("check", help=text, description=text)
    parser.set_defaults(run=_check)
    parser.add_argument("database", metavar="DATABASE", type=Path, help="a backup, or DATA_DIR/swarm-memory.db")
    add_output(parser)


def _check(options: argparse.Namespace) -> int:
    from swarm_operator.memory.core.errors import MemoryStoreError  # noqa: PLC0415
    from swarm_operator.memory.sqlite.backup.verify import check  # noqa: PLC0415

    try:
        with bar("check", of_bytes=False) as progress:
            report = check(options.database, progress=progress)
    except MemoryStoreError as error:
        return complain(error)
    findings = Output(options.output, ("where", "what"))
    for finding in report.findings:
        findings.row({"where": finding.where, "what": finding.what})
    findings.flush()
    Output(options.output).document({
        "ok": report.ok,
        "file": str(options.database),
        "schema_version": report.schema_version,
        "size": report.size,
        "entries": report.entries,
        "value_bytes": report.value_bytes,
        "namespaces": report.namespaces,
        "findings": len(report.findings) + report.omitted,
    })  # fmt: skip
    return OK if report.ok else FAILED
