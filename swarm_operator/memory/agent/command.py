"""Work done by a program, which reads the task as JSON from standard input and prints the result."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Sequence
from typing import Any, Final

from swarm_operator.memory.agent.work import WorkError

MAX_OUTPUT_BYTES: Final = 1024 * 1024
"""Maximum bytes of a program's result."""
_MAX_SHOWN_BYTES: Final = 2000
_TERMINATION: Final = 5.0
"""Seconds between SIGTERM and SIGKILL."""


class CommandWork:
    """Runs a program for each task, in a separate process group.

    Args:
        command: the program and its arguments. No shell is involved.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    async def __call__(self, task: dict[str, Any]) -> Any:
        """Carry out a task; see Work.

        Returns:
            The program's output: its JSON value, or the text if the output is not JSON; None if it is empty.

        Raises:
            WorkError: the program can't be started, exits with another code than 0, or prints too much.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise WorkError(f"exec: {self._command[0]}: {error.strerror or error}") from error
        assert process.stdin is not None  # noqa: S101 - for mypy
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        writing = asyncio.create_task(_write(process.stdin, json.dumps(task).encode()))
        reading = [
            asyncio.create_task(_read(process.stdout, MAX_OUTPUT_BYTES, keep_last=False)),
            asyncio.create_task(_read(process.stderr, _MAX_SHOWN_BYTES, keep_last=True)),
        ]
        try:
            output, complaint = await asyncio.gather(*reading)
            code = await process.wait()
        finally:
            await _end(process)
            for part in (writing, *reading):
                part.cancel()
            await asyncio.wait([writing, *reading])
            # asyncio closes a pipe only at end of file, and a child process of the program may keep the pipe open.
            process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001
        if code:
            said = complaint.decode(errors="replace").strip()
            raise WorkError(f"exec: {self._command[0]} exited with {code}" + (f": {said}" if said else ""))
        return _value(output)


async def _write(pipe: asyncio.StreamWriter, document: bytes) -> None:
    with contextlib.suppress(OSError):  # the program need not read its input
        pipe.write(document)
        await pipe.drain()
    pipe.close()
    with contextlib.suppress(OSError):
        await pipe.wait_closed()


async def _read(pipe: asyncio.StreamReader, limit: int, *, keep_last: bool) -> bytes:
    """Return the output of a pipe. Beyond the limit, keep the last bytes or raise WorkError."""
    read = bytearray()
    while part := await pipe.read(64 * 1024):
        read += part
        if len(read) > limit:
            if not keep_last:
                raise WorkError(f"exec: the output is too long (limit: {limit} bytes)")
            del read[:-limit]
    return bytes(read)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the processes of the program's group: SIGTERM, and after a while SIGKILL."""
    try:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            async with asyncio.timeout(_TERMINATION):
                await process.wait()
    except TimeoutError:
        pass
    finally:
        # The group includes child processes of the program. A group ID is not reused while a process belongs to the
        # group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _value(output: bytes) -> Any:
    text = output.decode(errors="replace").strip()
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    raise ValueError(name)
