"""`swarm-memory serve` as a process, seen from outside only."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading

from unit.memory.wire import steps


class Service:
    """A process that serves.

    Attributes:
        port: of HTTP and MCP.
        grpc_port: of gRPC.
        tokens: the directory of token files.
    """

    def __init__(self, process, log, tokens):
        self._process = process
        self.tokens = tokens
        self.log = []
        self.port = self.grpc_port = 0
        for line in log:
            self.log.append(line)
            event = json.loads(line)
            if event["event"] == "serving":
                self.port = int(re.search(r":(\d+)$", event["http"])[1])
                self.grpc_port = event["grpc_port"]
                break
        assert self.port, "".join(self.log)
        # A pipe that nobody reads would stop a process that logs much.
        self._reading = threading.Thread(target=lambda: self.log.extend(log))
        self._reading.start()

    def stop(self):
        """SIGTERM; its exit code."""
        self._process.terminate()
        code = self._process.wait(timeout=60)
        self._reading.join()
        return code


@contextlib.contextmanager
def serving(directory, *flags, program=("-m", "swarm_operator.cmd.memory"), zygote=None):
    """A service on `directory`, with the tokens of the scenarios.

    Args:
        directory: holds its data and its tokens.
        flags: more of them.
        program: what Python runs.
        zygote: forks a service that has its imports; nothing else is run.
    """
    tokens = directory / "tokens"
    tokens.mkdir()
    (tokens / "client-token").write_text(steps.CLIENT + "\n")
    (tokens / "admin-token").write_text(steps.ADMIN + "\n")
    (tokens / "tokens.json").write_text(json.dumps({"tokens": steps.TOKENS}))
    arguments = ["serve", "--data-dir", str(directory / "data"), "--token-dir", str(tokens), "--http-port", "0",
                 "--grpc-port", "0", "--metrics-port", "0", "--mcp", "true", "--search-wait-ms", "60000",
                 *flags]  # fmt: skip
    reading, output = os.pipe()
    with os.fdopen(reading) as log:
        try:
            if zygote:
                process = zygote.start(*arguments, output=output)
            else:
                process = subprocess.Popen([sys.executable, *program, *arguments], stderr=output)
        finally:
            os.close(output)
        try:
            service = Service(process, log, tokens)
            peers = [
                {"name": "self", "url": f"http://127.0.0.1:{service.port}", "token": steps.ADMIN},
                {"name": "refusing", "url": f"http://127.0.0.1:{service.port}", "token": "x" * 16},
            ]
            (tokens / "peers.json").write_text(json.dumps({"peers": peers}))
            yield service
            assert service.stop() == 0, "".join(service.log)
        finally:
            process.kill()
            process.wait()
