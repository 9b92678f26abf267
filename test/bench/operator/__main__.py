"""`python -m bench.operator`, from the folder `test`: both scenarios, both programs by turns, and a report."""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop
from bench.machine import machine
from bench.operator import audit, contenders, recording, report, scenarios
from bench.operator.subjects import CLUSTERS, STORES, Subject
from support.controlplane import find_binaries, run_control_plane

GO = Path(__file__).parent / "go"


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="make bench-operator", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="rounds; each program runs once in each (default: 3)")
    parser.add_argument("--stores", type=int, default=1000, help="number of stores; 0: none (default: 1000)")
    parser.add_argument(
        "--clusters", type=int, default=100, help="number of clusters with three agents; 0: none (default: 100)"
    )
    parser.add_argument("--workers", type=int, default=4, help="concurrent reconciles of each program (default: 4)")
    parser.add_argument("--no-reference", action="store_true", help="measure swarm-operator alone")
    options = parser.parse_args()
    # SIGTERM ends it as Ctrl-C does: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        uvloop.run(_run(options))
    except KeyboardInterrupt:
        sys.exit(130)


async def _run(options: argparse.Namespace) -> None:
    binaries = find_binaries()
    with tempfile.TemporaryDirectory() as folder:
        program = None if options.no_reference else _build_reference()
        _say("command:", "python -m bench.operator", shlex.join(sys.argv[1:]))
        for line in machine(*report.versions(binaries, GO)):
            _say(line)
        for subject, count in ((STORES, options.stores), (CLUSTERS, options.clusters)):
            if count:
                await _measure(binaries, Path(folder), program, subject, count, options)


async def _measure(
    binaries: Path, folder: Path, program: Path | None, subject: Subject, count: int, options: argparse.Namespace
) -> None:
    """Measure one kind of object, and say what came of it."""
    competing: dict[str, contenders.Contender] = {"ours": contenders.ours}
    if program:
        recorded = folder / f"{subject.name}.json"
        written = await recording.record(binaries, recorded, subject)
        _say(f"\n{count} {subject.name}; recorded for the reference:", ", ".join(written), "and the status")
        competing["go"] = contenders.reference(program, recorded)
    results: report.Results = {name: {"create": [], "restart": []} for name in competing}
    for number in range(options.runs):
        # By turns, and every other round the other way round, so that what else the machine does hits both.
        order = list(competing) if number % 2 == 0 else list(reversed(competing))
        for name in order:
            measured = await _once(binaries, competing[name], subject, count, options)
            for scenario, figures in measured.items():
                results[name][scenario].append(figures)
                _say(f"round {number + 1}: {name} {scenario} {figures.seconds:.2f} s")
    for lines in (report.figures(results), report.requests(results, count), report.verdicts(results)):
        _say("\n" + "\n".join(lines))


async def _once(
    binaries: Path, contender: contenders.Contender, subject: Subject, count: int, options: argparse.Namespace
) -> dict[str, scenarios.Measured]:
    """Both scenarios of one program on a control plane of their own, so that nobody finds another's objects."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with run_control_plane(binaries, folder, *audit.apiserver_flags(folder)) as plane:
            return await scenarios.run(plane, contender, subject, count=count, workers=options.workers)


def _build_reference() -> Path | None:
    built = subprocess.run([GO / "build.sh"], check=False, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        _say("the reference could not be built: swarm-operator is measured alone")
        return None
    return Path(built.stdout.strip())


def _say(*words: str) -> None:
    print(*words, flush=True)


if __name__ == "__main__":
    main()
