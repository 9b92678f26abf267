"""Work by a program: what it reads, what its output becomes, how it ends."""

import asyncio
import sys
from pathlib import Path

import pytest

from swarm_operator.memory.agent import CommandWork, WorkError, command


def python(code):
    return CommandWork([sys.executable, "-c", code])


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("import json, sys; print(json.dumps({'of': json.load(sys.stdin)['id']}))", {"of": "t1"}),
        ("print(' two\\nlines ')", "two\nlines"),
        ("print('NaN')", "NaN"),
        ("import sys; sys.stdin.close()", None),
    ],
)
async def test_what_a_program_prints_is_the_result(code, result):
    assert await python(code)({"id": "t1", "description": "x" * 200_000}) == result


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('no compiler')", f"exec: {sys.executable} exited with 1: no compiler"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", f"exec: {sys.executable} exited with -9"),
        ("print('x' * 2_000_000)", "exec: the output is too long (limit: 1048576 bytes)"),
    ],
)
async def test_a_program_that_fails_says_why(code, message):
    with pytest.raises(WorkError) as caught:
        await python(code)({"id": "t1"})
    assert str(caught.value) == message


async def test_a_program_that_is_not_there_says_so():
    with pytest.raises(WorkError, match="exec: /no/such/program: No such file"):
        await CommandWork(["/no/such/program"])({"id": "t1"})


STUBBORN = """
import os, signal, sys
if {ignored}:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if not child:
    signal.pause()
open({path!r}, "w").write(f"{{os.getpid()}} {{child}}")
os.rename({path!r}, {path!r} + ".done")
signal.pause()
"""


@pytest.mark.parametrize("ignored", [False, True])
async def test_a_program_that_is_stopped_leaves_no_process(tmp_path, eventually, monkeypatch, ignored):
    monkeypatch.setattr(command, "_TERMINATION", 0.1)
    path = tmp_path / "pids"
    work = asyncio.create_task(python(STUBBORN.format(ignored=ignored, path=str(path)))({"id": "t1"}))
    done = tmp_path / "pids.done"

    async def begun():
        return done.exists()

    await eventually(begun)
    work.cancel()
    await asyncio.wait([work])
    assert work.cancelled()

    async def gone():
        return not any(alive(int(pid)) for pid in done.read_text().split())

    await eventually(gone)


def alive(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_what_a_program_left_running_is_ended(eventually):
    code = "import os, signal\nchild = os.fork()\nif not child:\n    os.closerange(1, 3); signal.pause()\nprint(child)"
    child = await python(code)({"id": "t1"})

    async def gone():
        return not alive(child)

    await eventually(gone)
