"""`swarm-memory check`: on a file, without a service."""

from __future__ import annotations

from pathlib import Path

import click

from swarm_operator.cmd.memory.codes import FAILED, OK, complain
from swarm_operator.cmd.memory.flags import OUTPUT
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import FILE, command
from swarm_operator.cmd.memory.progress import bar


@command("check")
@click.argument("database", type=FILE, help="a backup, or DATA_DIR/swarm-memory.db")
@OUTPUT
def check(database: Path, output: str) -> int:
    """Check a database file that no service has open; change nothing."""
    from swarm_operator.memory.core.errors import MemoryStoreError  # noqa: PLC0415
    from swarm_operator.memory.sqlite.backup import verify  # noqa: PLC0415

    try:
        with bar("check", of_bytes=False) as progress:
            report = verify.check(database, progress=progress)
    except MemoryStoreError as error:
        return complain(error)
    findings = Output(output, ("where", "what"))
    for finding in report.findings:
        findings.row({"where": finding.where, "what": finding.what})
    findings.flush()
    Output(output).document({
        "ok": report.ok,
        "file": str(database),
        "schema_version": report.schema_version,
        "size": report.size,
        "entries": report.entries,
        "value_bytes": report.value_bytes,
        "namespaces": report.namespaces,
        "findings": len(report.findings) + report.omitted,
    })  # fmt: skip
    return OK if report.ok else FAILED
