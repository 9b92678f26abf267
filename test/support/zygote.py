"""A process that has imported a program and forks it: the program starts in a tenth of the time.

What it forks is the real program: its own process, files and ports; it dies of the same signals. Only its imports are
not its own. SIGUSR1 lets the fsyncs of a memory service fail, SIGUSR2 those of the database but not those of its log,
see fail_syncs. Run as a program this is the process that forks; `Zygote` talks to it.
"""

import asyncio
import contextlib
import ctypes
import errno
import importlib
import json
import os
import platform
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import traceback
from pathlib import Path

MANAGER, MEMORY = "swarm_operator.cmd.manager", "swarm_operator.cmd.memory"
PRELOADED = {
    MANAGER: (),
    MEMORY: (
        "swarm_operator.cmd.memory.commands",
        "swarm_operator.cmd.memory.serving",
        "swarm_operator.memory.service.server",
        "swarm_operator.memory.service.grpc.server",
        "swarm_operator.memory.service.mcp.server",
        "swarm_operator.memory.agent",
    ),
}
"""The programs, and what they import when they run."""


def main(program, control):
    """Fork the program for each request on this socket: a JSON list of arguments.

    With it come two descriptors: its output, and where its exit code is written when it has ended.
    """
    run = importlib.import_module(program).main
    for module in PRELOADED[program]:
        importlib.import_module(module)
    children = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    selector.unregister(key.fd)
                    tell_the_end(key.fd, *children.pop(key.fd))
                    continue
                request, descriptors, _, _ = socket.recv_fds(control, 65536, 2)
                if not request:
                    return
                output, status = descriptors
                pid = os.fork()
                if not pid:
                    selector.close()
                    control.close()
                    os.dup2(output, 1)
                    os.dup2(output, 2)
                    for descriptor in (output, status, *children, *(to for _, to in children.values())):
                        os.close(descriptor)
                    if program == MEMORY:
                        signal.signal(signal.SIGUSR1, lambda *_: fail_syncs())
                        signal.signal(signal.SIGUSR2, lambda *_: fail_syncs("swarm-memory.db"))
                    end_with(run, json.loads(request))
                os.close(output)
                descriptor = os.pidfd_open(pid)
                children[descriptor] = pid, status
                selector.register(descriptor, selectors.EVENT_READ)
                control.send(pid.to_bytes(4))


def end_with(run, arguments):
    """Run the program, and end this process with its exit code."""
    code = 1
    try:
        code = run(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - it ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def tell_the_end(descriptor, pid, status):
    """Write the exit code of a child that has ended, negative after a signal."""
    os.close(descriptor)
    _, ended = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it
        os.write(status, os.waitstatus_to_exitcode(ended).to_bytes(4, signed=True))
    os.close(status)


def fail_syncs(name=None):
    """Let each fsync and fdatasync of this process fail with EIO, from now on until its end: a seccomp filter.

    Args:
        name: only of files of this name that are open now.
    """
    opened = {int(each.name): each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}
    failing = [number for number, path in opened.items() if path.name == name]
    prctl, syscall = ctypes.CDLL(None, use_errno=True).prctl, ctypes.CDLL(None, use_errno=True).syscall
    numbers = {"x86_64": (74, 75, 317), "aarch64": (82, 83, 277)}[platform.machine()]
    fsync, fdatasync, seccomp = numbers
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    refuse, allow = 0x00050000 | errno.EIO, 0x7FFF0000
    syncing = [(load, 0, 0, 0), (equal, 2, 0, fsync), (equal, 1, 0, fdatasync), (answer, 0, 0, allow)]
    if name is None:
        program = [*syncing, (answer, 0, 0, refuse)]
    else:  # the first argument, which is the descriptor
        each = [(equal, len(failing) - place, 0, number) for place, number in enumerate(failing)]
        program = [*syncing, (load, 0, 0, 16), *each, (answer, 0, 0, allow), (answer, 0, 0, refuse)]
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    held = ctypes.create_string_buffer(program)
    descriptor = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(held))
    # Without it only root could; of all threads, not only this one.
    if prctl(38, 1, 0, 0, 0) or syscall(seccomp, 1, 1, descriptor):
        os._exit(2)


class Child:
    """What subprocess.Popen is, for a process that is the zygote's child."""

    def __init__(self, pid, status):
        self.pid = pid
        self.returncode = None
        self._status = status

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def poll(self):
        return self._look(0)

    def wait(self, timeout=None):
        if self._look(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def _look(self, timeout):
        """Wait for its end; returns its exit code, or None."""
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = int.from_bytes(os.read(self._status, 4), signed=True)
            os.close(self._status)
        return self.returncode


class AsyncChild(Child):
    """What asyncio.subprocess.Process is."""

    def __init__(self, pid, status, stderr):
        super().__init__(pid, status)
        self.stderr = stderr
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(status, self._end)

    async def wait(self):
        await self._ended.wait()
        return self.returncode

    def _look(self, timeout):
        return self.returncode

    def _end(self):
        asyncio.get_running_loop().remove_reader(self._status)
        super()._look(0)
        self._ended.set()


class Zygote:
    """The process that forks, as those see it who want a child of it."""

    def __init__(self, program):
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, program, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )

    def start(self, *arguments, output):
        """A new process that runs the program with these arguments, and writes what it prints to this descriptor."""
        return Child(*self._fork(arguments, output))

    async def fork(self, *arguments):
        """A new process whose output is its attribute `stderr`, a stream."""
        reading, output = os.pipe()
        try:
            pid, status = self._fork(arguments, output)
        finally:
            os.close(output)
        stderr = asyncio.StreamReader(limit=2**20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stderr), os.fdopen(reading, "rb")
        )
        return AsyncChild(pid, status, stderr)

    def stop(self):
        """End it; what it forked lives on."""
        self._control.close()
        self._process.wait()

    def _fork(self, arguments, output):
        """Fork; returns the process' id and the descriptor that tells its exit code."""
        ended, status = os.pipe()
        try:
            socket.send_fds(self._control, [json.dumps(arguments).encode()], [output, status])
        finally:
            os.close(status)
        return int.from_bytes(self._control.recv(4)), ended


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
