"""An agent that lets a language model carry out tasks, with the memory's MCP tools. See docs/agents.md.

The model is any that answers POST $OPENAI_BASE_URL/chat/completions with tool calls. Registration, heartbeats, leases
and the end by SIGTERM are those of `swarm-memory agent`; the loop between the model and its tools is here.
"""

import asyncio
import json
import os
import signal
import socket
import ssl
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from swarm_operator.memory.agent import Agent, AgentSettings, WorkError
from swarm_operator.memory.client import MemoryClient

URL = os.environ.get("SWARM_MEMORY_URL", "http://127.0.0.1:8080")
TOKEN_FILE = Path(os.environ.get("SWARM_MEMORY_TOKEN_FILE", "data/tokens/client-token"))
CA = os.environ.get("SWARM_MEMORY_CA_FILE")
MODEL_URL = os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
MAX_TURNS = 20
INSTRUCTIONS = (
    "You carry out one task of a swarm. Search the memory for what others know before you begin, store in it what "
    "others should know, then answer with the result of the task."
)


async def work(task: dict) -> str:
    """Carry out a task and return the model's answer."""
    async with (
        httpx2.AsyncClient(headers=bearer(token()), timeout=60, verify=ssl.create_default_context(cafile=CA)) as http,
        Client(streamable_http_client(f"{URL}/mcp", http_client=http)) as memory,
        httpx2.AsyncClient(headers=bearer(os.environ["OPENAI_API_KEY"]), timeout=300) as to_model,
    ):
        tools = []
        for tool in (await memory.list_tools()).tools:
            function = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
            tools.append({"type": "function", "function": function})
        messages = [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": f"Task {task['id']}: {task.get('description', '')}"},
        ]
        for _ in range(MAX_TURNS):
            answer = await to_model.post(
                f"{MODEL_URL}/chat/completions", json={"model": MODEL, "messages": messages, "tools": tools}
            )
            if answer.status_code != 200:
                raise WorkError(f"the model's server answered {answer.status_code}: {answer.text[:500]}")
            message = answer.json()["choices"][0]["message"]
            messages.append(message)
            calls = message.get("tool_calls") or []
            if not calls:
                return message["content"]
            for call in calls:
                said = await use(memory, call["function"])
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": said})
        raise WorkError(f"the model did not finish (limit: {MAX_TURNS} turns)")


def token() -> str:
    """Return the memory's token; the file may have another one for the next task."""
    return TOKEN_FILE.read_text().strip()


def bearer(secret: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {secret}"}


async def use(memory: Client, function: dict) -> str:
    """Call a tool and return what it says; the model also reads what was wrong with its call."""
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError as error:
        return f"arguments: {error}; a JSON object is allowed"
    result = await memory.call_tool(function["name"], arguments)
    return "\n".join(part.text for part in result.content if part.type == "text")


async def main() -> None:
    """Work until SIGTERM."""
    settings = AgentSettings(
        agent_id=os.environ.get("AGENT_ID", socket.gethostname()), swarm_id=os.environ.get("SWARM_ID", "")
    )
    async with MemoryClient(URL, token_file=TOKEN_FILE, ca_file=Path(CA) if CA else None) as memory:
        agent = Agent(memory, settings, work)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, agent.stop)
        await agent.run()


if __name__ == "__main__":
    asyncio.run(main())
