"""The two programs, as processes with the same rights and the same number of workers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.controlplane import TOP, ControlPlane, free_port, stop

from swarm_operator.controllers.common import labels


@dataclass(slots=True)
class Running:
    """An operator that runs."""

    process: subprocess.Popen[bytes]
    metrics_port: int
    started: float
    """`time.monotonic()` just before the process was made."""

    def metrics(self) -> dict[str, float]:
        """All samples, by name with labels; none while it does not serve them yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except (urllib.error.URLError, OSError):
            if self.process.poll() is not None:
                raise RuntimeError(f"the operator ended with {self.process.returncode}: see its log") from None
            return {}
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


_MANAGER = "import sys; sys.modules['rich'] = None; from swarm_operator.cmd.manager import main; sys.exit(main())"
"""The manager as it is in its image, which has no rich: structlog imports it where there is one."""

Contender = Callable[..., contextlib.AbstractContextManager[Running]]
"""Called with a control plane and `workers`."""


def ours(plane: ControlPlane, *, workers: int, profiler: tuple[str, ...] = ()) -> contextlib.AbstractContextManager:
    """swarm-operator, as it is deployed but for the lease. It watches all namespaces."""
    port = free_port()
    command = [
        *profiler,
        *(sys.executable, "-c", _MANAGER, "--max-concurrent-reconciles", str(workers)),
        *("--metrics-bind-address", f"127.0.0.1:{port}", "--no-metrics-secure", "--health-probe-bind-address", "0"),
        # No pod gets ready here, so nobody is asked; an address that refuses at once all the same.
        *("--memory-url", "http://127.0.0.1:9", "--kubeconfig", plane.kubeconfig("operator")),
    ]
    return _run(plane, command, port)


def reference(program: Path, recording: Path, *flags: str) -> Contender:
    """The Go operator."""

    def run(plane: ControlPlane, *, workers: int) -> contextlib.AbstractContextManager:
        port = free_port()
        command = [
            *(str(program), "--recording", str(recording), "--selector", labels.MANAGED),
            *("--max-concurrent-reconciles", str(workers), "--metrics-bind-address", f"127.0.0.1:{port}"),
            *("--kubeconfig", plane.kubeconfig("operator"), *flags),
        ]
        return _run(plane, command, port)

    return run


@contextlib.contextmanager
def _run(plane: ControlPlane, command: list[str], port: int) -> Iterator[Running]:
    started = time.monotonic()
    with (plane.folder / "operator.log").open("ab") as log:
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the image has the bytecode: do not time the compiler
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield Running(process, port, started)
    except BaseException:
        sys.stderr.write((plane.folder / "operator.log").read_text(errors="replace")[-2000:])
        raise
    finally:
        stop(process)
