"""A shell into which a test types the commands of a page."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from support.pages import TOP, Command, one_line, pattern

_ENDED = re.compile(r"\x1e(\d+)\x1e\n")


async def answers(commands: Iterable[Command], folder: Path, *, seconds: float = 110, **environment: str) -> list[str]:
    """Run the commands in one bash, in their order; returns what each prints, on standard error too.

    All must succeed. swarm-memory is this repository's.

    Args:
        commands: what to run.
        folder: where to run it.
        seconds: after which a hung command fails the test.
        environment: variables beside those of the test.
    """
    listed = list(commands)
    script = [
        "set -m",  # `kill %1`
        "trap 'kill $(jobs -p) 2>/dev/null' EXIT",
        *(f"{{ {command.text}\n}}; printf '\\036%s\\036\\n' $?" for command in listed),
    ]
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", "\n".join(script), cwd=folder, env=variables(folder, **environment),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds):
            output = (await process.communicate())[0].decode()
    except TimeoutError:
        process.terminate()
        await process.wait()
        raise
    *printed, _ = _ENDED.split(output)
    texts, codes = printed[::2], printed[1::2]
    for command, text, code in zip(listed, texts, codes, strict=True):
        assert code == "0", (command.text, text)
    return texts


async def check(commands: Iterable[Command], folder: Path, *, seconds: float = 110, **environment: str) -> list[str]:
    """Run the commands as `answers` does; where the page shows an answer, theirs has it."""
    listed = list(commands)
    texts = await answers(listed, folder, seconds=seconds, **environment)
    for command, text in zip(listed, texts, strict=True):
        assert pattern(command.answer).search(one_line(text)), (command, text)
    return texts


def checkout(folder: Path) -> Path:
    """A copy of this repository, in which commands may leave files."""
    unwanted = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist")
    return Path(shutil.copytree(TOP, folder / "checkout", ignore=unwanted, symlinks=True))


def connecting(folder: Path, port: int) -> dict[str, str]:
    """Variables with which curl connects to a port of this host where the pages say localhost:8080."""
    (folder / ".curlrc").write_text(f'connect-to = "localhost:8080:127.0.0.1:{port}"\nsilent\n')
    return {"CURL_HOME": str(folder)}


def variables(folder: Path, **environment: str) -> dict[str, str]:
    """The environment of the shell: the test's, where swarm-memory is this repository's, and these."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    script = programs / "swarm-memory"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{TOP}" exec "{sys.executable}" -m swarm_operator.cmd.memory "$@"\n')
    script.chmod(0o700)
    given = {**os.environ, **environment}
    return {**given, "PATH": f"{programs}:{given['PATH']}"}
