"""The memory service as a process of its own."""

import asyncio
import json
import os
import sys


class Process:
    """`swarm-memory serve` as a process of its own."""

    def __init__(self, process, data_dir):
        self.process = process
        self.data_dir = data_dir
        self.log = []
        self.url = ""
        self.metrics_url = ""

    @classmethod
    async def start(cls, data_dir, *arguments, limits=None, **environment):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "swarm_operator.cmd.memory", "serve", "--data-dir", str(data_dir),
            "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", *arguments,
            stderr=asyncio.subprocess.PIPE,
            env={"SEARCH_WAIT_MS": "60000", **os.environ, **environment},
            preexec_fn=limits,
        )  # fmt: skip
        return await cls.announced(process, data_dir)

    @classmethod
    async def announced(cls, process, data_dir):
        """A process that has said where it serves, or that has ended."""
        self = cls(process, data_dir)
        while line := await process.stderr.readline():
            event = json.loads(line)
            self.log.append(event)
            if event["event"] == "serving":
                self.url, self.metrics_url = event["http"], event["metrics"]
                return self
        await process.wait()
        return self

    @property
    def token(self):
        return (self.data_dir / "tokens" / "client-token").read_text().strip()

    async def stop(self, signal):
        """Send the signal, read the rest of the log, return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal)
        return await self.ended()

    async def ended(self):
        """Read the rest of the log, return the exit code. A second signal would cut off what the first lets finish."""
        # Children's watchers run in the loop, so both can be awaited.
        rest = await self.process.stderr.read()
        self.log += [json.loads(line) for line in rest.splitlines()]
        return await self.process.wait()
