"""`swarm-memory agent`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import signal
import socket
from pathlib import Path
from typing import Any

from swarm_operator.cmd.memory.calling import add_connection
from swarm_operator.cmd.memory.codes import OK, complain
from swarm_operator.cmd.memory.flags import Flags
from swarm_operator.cmd.memory.values import interval, one_of, swarm_id, url


def add(commands: Any) -> None:
    """Add `agent`."""
    text = "work through tasks: claim them, carry them out and complete them, until SIGTERM"
    parser = commands.add_parser("agent", help=text, description=text)
    parser.set_defaults(run=_agent)
    add_connection(parser)
    flag = Flags(parser)
    flag("--swarm-id", "SWARM_ID", "", _swarm_or_any, "whose memory it must be; default: anybody's")
    flag("--agent-id", "AGENT_ID", socket.gethostname(), _agent_id, "who the agent is, among those that run")
    flag("--type", "AGENT_TASK_TYPES", "", _words, "types of tasks to claim, with commas between; default: all")
    patterns = "ways of thinking to register with, such as divergent, with commas between; default: none"
    flag("--cognitive-patterns", "AGENT_COGNITIVE_PATTERNS", "", _words, patterns)
    flag(
        "--exec", "AGENT_EXEC", "", _command,
        "program for each task: it reads the task as JSON and prints the result; default: store and search",
    )  # fmt: skip
    flag("--lease", "AGENT_LEASE", "60s", interval, "time until another agent gets the task of one that is gone")
    flag("--poll", "AGENT_POLL", "1s", interval, "time between two claims while there is no task")
    flag("--heartbeat", "AGENT_HEARTBEAT", "20s", interval, "time between two heartbeats")
    flag("--grace", "AGENT_GRACE", "30s", interval, "time to finish a task after SIGTERM; then it is released")
    queen = "the swarm's hive mind, in which the agent stands for queen; default: none"
    flag("--hive-mind-url", "SWARM_HIVE_MIND_URL", "", _url_or_none, queen)
    flag("--hive-mind-token-file", "SWARM_HIVE_MIND_TOKEN_FILE", "", str, "holds its token; default: none")
    flag(
        "--queen-lease", "AGENT_QUEEN_LEASE", "30s", interval, "time until another agent is queen for one that is gone"
    )
    flag("--log-level", "LOG_LEVEL", "info", one_of("debug", "info", "warning", "error"), "the least that is logged")


def _agent(options: argparse.Namespace) -> int:
    from swarm_operator.cmd import logs  # noqa: PLC0415 - other commands need not wait for these imports
    from swarm_operator.memory import agent, client  # noqa: PLC0415

    logs.configure(options.log_level)
    settings = agent.AgentSettings(
        agent_id=options.agent_id,
        swarm_id=options.swarm_id,
        types=options.type,
        cognitive_patterns=options.cognitive_patterns,
        lease=options.lease,
        poll=options.poll,
        heartbeat=options.heartbeat,
        grace=options.grace,
    )

    def connect(address: str, token_file: str) -> client.MemoryClient:
        file = Path(token_file) if token_file else None
        return client.MemoryClient(address, token_file=file, ca_file=options.ca_file, retry_for=5.0)

    async def run() -> None:
        async with contextlib.AsyncExitStack() as stack:
            memory = await stack.enter_async_context(connect(options.url, options.token_file))
            work = agent.CommandWork(options.exec) if options.exec else agent.MemoryWork(memory, options.agent_id)
            running = agent.Agent(memory, settings, work)
            stops = [running.stop]
            if options.hive_mind_url:
                hive = await stack.enter_async_context(connect(options.hive_mind_url, options.hive_mind_token_file))
                candidate = agent.Candidate(hive, options.agent_id, lease=options.queen_lease)
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


def _swarm_or_any(text: str) -> str:
    return swarm_id(text) if text else ""


def _url_or_none(text: str) -> str:
    return url(text) if text else ""


def _agent_id(text: str) -> str:
    if 1 <= len(text.encode(errors="surrogateescape")) <= 512:
        return text
    raise argparse.ArgumentTypeError(f"{text[:64]!r} is not allowed: 1 to 512 bytes")


def _words(text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if len(words) > 64 or any(len(each.encode(errors="surrogateescape")) > 128 for each in words):
        raise argparse.ArgumentTypeError(f"{text[:64]!r} is not allowed: at most 64 words of at most 128 bytes")
    return words


def _command(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:64]!r} is not allowed: {error}; a command line") from None
