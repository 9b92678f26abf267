"""A process that has imported the memory service and forks: a service starts in a tenth of the time.

What it forks is the real service: its own process, files and ports; it dies of the same signals. Only its imports are
not its own. SIGUSR1 lets its fsyncs fail, SIGUSR2 those of the database but not those of its log, see fail_syncs. Run
as a program this is the process that forks; `Zygote` talks to it.
"""

import asyncio
import contextlib
import ctypes
import errno
import importlib
import json
import os
import platform
import signal
import socket
import struct
import sys
from pathlib import Path

PRELOADED = (
    "swarm_operator.cmd.memory.serving",
    "swarm_operator.memory.service.server",
    "swarm_operator.memory.service.grpc.server",
    "swarm_operator.memory.service.mcp.server",
)


def main(control):
    """Fork a service for each request on this socket: a JSON list of arguments, and where its standard error goes."""
    from swarm_operator.cmd.memory import main as run

    for module in PRELOADED:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody is left a zombie
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
        if not request:
            return
        (output,) = descriptors
        child = os.fork()
        if not child:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            os.dup2(output, 2)
            os.close(output)
            signal.signal(signal.SIGUSR1, lambda *_: fail_syncs())
            signal.signal(signal.SIGUSR2, lambda *_: fail_syncs("swarm-memory.db"))
            code = 1
            with contextlib.suppress(SystemExit):
                code = run(json.loads(request))
            os._exit(code)
        os.close(output)
        control.send(child.to_bytes(4))


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


class Forked:
    """What asyncio's own Process is, for a process that is somebody else's child."""

    def __init__(self, pid, stderr):
        self.pid = pid
        self.stderr = stderr
        self.returncode = None
        self._descriptor = os.pidfd_open(pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._descriptor, self._end)

    def send_signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    async def wait(self):
        """Wait for its end. What it exits with is not known."""
        await self._ended.wait()
        return self.returncode

    def _end(self):
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self.returncode = 0
        self._ended.set()


class Zygote:
    """The process that forks, as those see it who want a service."""

    def __init__(self, process, control):
        self._process = process
        self._control = control

    @classmethod
    async def start(cls):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, str(theirs.fileno()), pass_fds=[theirs.fileno()]
            )
        ours.setblocking(False)
        return cls(process, ours)

    async def fork(self, *arguments):
        """A new process that runs `swarm-memory` with these arguments."""
        reading, writing = os.pipe()
        socket.send_fds(self._control, [json.dumps(arguments).encode()], [writing])
        os.close(writing)
        loop = asyncio.get_running_loop()
        pid = int.from_bytes(await loop.sock_recv(self._control, 4))
        stderr = asyncio.StreamReader(limit=2**20)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stderr), os.fdopen(reading, "rb"))
        return Forked(pid, stderr)

    async def stop(self):
        self._control.close()
        await self._process.wait()


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
