"""`promtool check` has nothing to say of what both programs serve, and takes the scrape example."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import urllib.request

import pytest
from support.memory_process import Process
from support.pages import TOP
from support.prometheus import complaints, promtool

pytestmark = pytest.mark.timeout(1200)  # promtool is built first, once a machine

KEPT = ["swarm_memory_entries_total"]
"""The name of the document that this service was made from; docs/metrics.md says so."""


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


async def test_the_operator_s_metrics_are_as_prometheus_wants_them(start_operator, objects, eventually):
    operator = start_operator()
    await objects.cluster("c", enableMemoryStore=True)
    await eventually(lambda: asyncio.to_thread(operator.ready))
    found = await asyncio.to_thread(page, f"http://127.0.0.1:{operator.metrics_port}/metrics")
    assert "process_resident_memory_bytes " in found
    assert await asyncio.to_thread(complaints, found) == []


async def test_the_memory_s_metrics_are_too_but_for_one_name(tmp_path):
    process = await Process.start(tmp_path / "data", "--mcp", "true")
    try:
        found = await asyncio.to_thread(page, f"{process.metrics_url}/metrics")
    finally:
        assert await process.stop(signal.SIGTERM) == 0
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"):
        assert f"\nprocess_{name} " in found
    said = await asyncio.to_thread(complaints, found)
    assert [line.split()[0] for line in said] == KEPT, said


async def test_a_bad_name_is_noticed():
    assert await asyncio.to_thread(complaints, "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n")


async def test_prometheus_takes_the_scrape_example():
    program, example = await asyncio.to_thread(promtool), TOP / "config/prometheus/scrape.yaml"
    command = [program, "check", "config", "--syntax-only", example]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
