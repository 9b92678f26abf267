"""Asks the service whether it is alive, as the kubelet does, from a process that does nothing else.

`python prober.py PORT PID`: for each line of standard input it prints the seconds of the slowest answer since the line
before, at least of one that was asked for since then; and the most seconds of processor time that the service used
meanwhile. A process of its own measures the service alone: what makes up the requests is busy for longer than the
service may be.
"""

import os
import select
import socket
import sys
import time
from pathlib import Path

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PAUSE = 0.05
"""Seconds between two questions."""
PATIENCE = 60.0
"""Seconds after which an answer is none."""


def ask(port):
    """Return the seconds until the service has answered; infinity if it did not, or is not alive."""
    began = time.perf_counter()
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(REQUEST)
            alive = connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    except OSError:
        alive = False
    return time.perf_counter() - began if alive else float("inf")


def worked(pid):
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    port, pid = map(int, sys.argv[1:])
    slowest = most = 0.0
    while True:
        asked = bool(select.select([sys.stdin], [], [], PAUSE)[0])
        if asked and not sys.stdin.readline():
            return
        before = worked(pid)
        slowest = max(slowest, ask(port))
        most = max(most, worked(pid) - before)
        if asked:
            sys.stdout.write(f"{slowest} {most}\n")
            sys.stdout.flush()
            slowest = most = 0.0


if __name__ == "__main__":
    main()
