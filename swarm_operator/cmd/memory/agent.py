"""`swarm-memory agent`."""

from __future__ import annotations

import contextlib
import shlex
import signal
import socket
from pathlib import Path
from typing import Any

from swarm_operator.cmd.memory.codes import OK, complain
from swarm_operator.cmd.memory.flags import connection, flag, flags
from swarm_operator.cmd.memory.parsing import FILE, OneOf, command
from swarm_operator.cmd.memory.values import interval, swarm_id, url
from swarm_operator.shared.log_level import LEVELS


def _agent_id(text: str) -> str:
    if 1 <= len(text.encode(errors="surrogateescape")) <= 512:
        return text
    raise ValueError(f"{text[:64]!r} is not allowed: 1 to 512 bytes")


def _words(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if len(words) > 64 or any(len(each.encode(errors="surrogateescape")) > 128 for each in words):
        raise ValueError(f"{text[:64]!r} is not allowed: at most 64 words of at most 128 bytes")
    return words


def _command(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{text[:64]!r} is not allowed: {error}; a command line") from None


@command("agent")
@connection()
@flags(
    flag("--swarm-id", "SWARM_ID", None, swarm_id, "swarm of the memory; default: any swarm"),
    flag("--agent-id", "AGENT_ID", socket.gethostname(), _agent_id, "id of the agent, unique among running agents"),
    flag("--type types", "AGENT_TASK_TYPES", "", _words, "types of tasks to claim, comma-separated; default: all"),
    flag(
        "--cognitive-patterns", "AGENT_COGNITIVE_PATTERNS", "", _words,
        "ways of thinking to register, comma-separated, such as divergent; default: none",
    ),
    flag(
        "--exec program", "AGENT_EXEC", "", _command,
        "program for each task: it reads the task as JSON and prints the result; default: store and search",
    ),
    flag("--lease", "AGENT_LEASE", "60s", interval, "lease of a task: time until others may claim it"),
    flag("--poll", "AGENT_POLL", "1s", interval, "time between two claims while there is no task"),
    flag("--heartbeat", "AGENT_HEARTBEAT", "20s", interval, "time between two heartbeats"),
    flag("--grace", "AGENT_GRACE", "30s", interval, "time to finish a task after SIGTERM; then the task is released"),
    flag(
        "--hive-mind-url", "SWARM_HIVE_MIND_URL", None, url,
        "URL of the hive mind, where the agent competes to be queen; default: none",
    ),
    flag("--hive-mind-token-file", "SWARM_HIVE_MIND_TOKEN_FILE", None, FILE, "file with the hive mind's token"),
    flag(
        "--queen-lease", "AGENT_QUEEN_LEASE", "30s", interval, "lease of the queen: time until others may take over"
    ),
    flag("--log-level", "LOG_LEVEL", "info", OneOf(*LEVELS), "minimum log level"),
)  # fmt: skip
def work(
    url: str, token_file: Path | None, ca_file: Path | None, swarm_id: str | None, program: tuple[str, ...],
    hive_mind_url: str | None, hive_mind_token_file: Path | None, queen_lease: float, log_level: str, **settings: Any,
) -> int:  # fmt: skip
    """Work through tasks: claim them, carry them out and complete them, until SIGTERM."""
    import asyncio  # noqa: PLC0415 - other commands need not wait for these imports

    from swarm_operator.cmd import logs  # noqa: PLC0415
    from swarm_operator.memory import agent, client  # noqa: PLC0415

    logs.configure(log_level)

    def connect(address: str, token_file: Path | None) -> client.MemoryClient:
        return client.MemoryClient(address, token_file=token_file, ca_file=ca_file, retry_for=5.0)

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            memory = await stack.enter_async_context(connect(url, token_file))
            agent_id = settings["agent_id"]
            running = agent.Agent(
                memory,
                agent.AgentSettings(swarm_id=swarm_id or "", **settings),
                agent.CommandWork(program) if program else agent.MemoryWork(memory, agent_id),
            )
            stops = [running.stop]
            if hive_mind_url:
                hive = await stack.enter_async_context(connect(hive_mind_url, hive_mind_token_file))
                candidate = agent.Candidate(hive, agent_id, lease=queen_lease)
                standing = asyncio.create_task(candidate.run())
                stack.push_async_callback(asyncio.wait, {standing})
                stack.callback(candidate.stop)
                stops.append(candidate.stop)

            def stop() -> None:
                for each in stops:
                    each()

            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop)
            await running.run()

    try:
        asyncio.run(run())
    except (agent.AgentError, client.MemoryClientError, ValueError) as error:  # ValueError: the URL
        return complain(error)
    return OK
