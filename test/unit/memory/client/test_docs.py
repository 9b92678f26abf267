"""The examples of the page about the client run."""

import asyncio
import textwrap

from support.pages import blocks


async def test_both_examples_run(fork_process, monkeypatch):
    process = await fork_process()
    monkeypatch.chdir(process.data_dir.parent)
    examples = [block for block in blocks("client.md") if block.startswith("from ")]
    asynchronous, synchronous = (each.replace("http://127.0.0.1:8080", process.url) for each in examples)
    scope = {}
    exec("async def example():\n" + textwrap.indent(asynchronous, "    "), scope)
    await scope["example"]()
    await asyncio.to_thread(exec, synchronous, {})
