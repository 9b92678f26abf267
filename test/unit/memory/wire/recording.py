"""Records what a service answers to the scenarios over HTTP, gRPC and MCP, and compares answers with recordings.

The recordings in recorded/ were made with the code of commit 0021e49. They say what clients of then rely on, so they
are made anew only when the wire is to change; git then shows what has changed:

    PYTHONPATH=test python -m unit.memory.wire.recording                  all scenarios
    PYTHONPATH=test python -m unit.memory.wire.recording http_entries     these
    PYTHONPATH=test python -m unit.memory.wire.recording --protoset       what gRPC's messages are read by
    PYTHONPATH=test python -m unit.memory.wire.recording --store          the database of before: never needed again
"""

import difflib
import json
import shutil
import sys
import tempfile
from pathlib import Path

from unit.memory.wire import grpc_calls, store_of_before
from unit.memory.wire.playing import Player
from unit.memory.wire.scenarios import SCENARIOS
from unit.memory.wire.service import serving

RECORDED = Path(__file__).parent / "recorded"
_AROUND = 60
_MOST_SHOWN = 10


def play(scenario, directory, zygote=None):
    """All exchanges of a scenario, on a service of its own in an empty directory, which a zygote may fork."""
    if scenario.store is not None:
        (directory / "data").mkdir()
        shutil.copy(RECORDED / scenario.store, directory / "data" / "swarm-memory.db")
    with (
        serving(directory, *(flag.format(directory=directory) for flag in scenario.flags), zygote=zygote) as service,
        Player(service, times=scenario.times) as player,
    ):
        player.play(scenario.steps)
    return player.exchanges


def write(scenario, exchanges):
    """Write a recording."""
    text = json.dumps(exchanges, ensure_ascii=False, indent=1)
    (RECORDED / f"{scenario.name}.json").write_text(text + "\n")


def read(name):
    """The exchanges of a recording."""
    return json.loads((RECORDED / f"{name}.json").read_text())


def _sorted(exchange):
    """The exchange with its header lines sorted: their order means nothing (RFC 9110, section 5.3)."""
    return exchange | {"got": [*exchange["got"][:1], *sorted(exchange["got"][1:])]} if "got" in exchange else exchange


def differences(recorded, played):
    """What differs, for people; empty when nothing does."""
    found = []
    expected, given = ({each["name"]: each for each in exchanges} for exchanges in (recorded, played))
    found += [f"{name}: not played\n" for name in expected if name not in given]
    found += [f"{name}: not recorded\n" for name in given if name not in expected]
    for name, exchange in given.items():
        if _sorted(expected.get(name, exchange)) != _sorted(exchange):
            both = map(_sorted, (expected[name], exchange))
            lines = [json.dumps(each, ensure_ascii=False, indent=1).splitlines() for each in both]
            found.append(f"{name}:\n" + "\n".join(_short(*lines)) + "\n")
    if not found and list(expected) != list(given):
        found.append("the order of the exchanges is not that of the recording\n")
    rest = len(found) - _MOST_SHOWN
    return "\n".join(found[:_MOST_SHOWN]) + (f"\nand {rest} more" if rest > 0 else "")


def _short(before, after):
    """The lines that differ; of a long one what is around its first difference."""
    diff = list(difflib.unified_diff(before, after, "recorded", "answered", lineterm="", n=1))
    removed, added = ([line for line in diff[2:] if line.startswith(sign)] for sign in "-+")
    starts = {}
    for one, other in zip(removed, added, strict=False):
        same = next((at for at, (a, b) in enumerate(zip(one[1:], other[1:], strict=False)) if a != b), 0)
        starts[one] = starts[other] = max(same - _AROUND, 0)
    for line in diff:
        start = starts.get(line, 0)
        if len(line) <= 3 * _AROUND:
            yield line
        else:
            yield f"{line[0]}{'…' if start else ''}{line[1 + start : start + 3 * _AROUND]}…"


def main(arguments):
    """Record."""
    if arguments == ["--protoset"]:
        with tempfile.TemporaryDirectory() as directory, serving(Path(directory)) as service:
            grpc_calls.PROTOSET.write_bytes(grpc_calls.learn(service.grpc_port))
        return
    if arguments == ["--store"]:
        with tempfile.TemporaryDirectory() as directory:
            store_of_before.make(Path(directory), RECORDED)
        return
    for scenario in SCENARIOS:
        if not arguments or scenario.name in arguments:
            with tempfile.TemporaryDirectory() as directory:
                exchanges = play(scenario, Path(directory))
            write(scenario, exchanges)
            sys.stdout.write(f"{scenario.name}: {len(exchanges)} exchanges\n")


if __name__ == "__main__":
    main(sys.argv[1:])
