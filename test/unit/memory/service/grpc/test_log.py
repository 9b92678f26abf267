"""Standard error of the service has lines of JSON only, so the gRPC library in C must not write to it."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import socket
from swarm_operator.memory.service.grpc import server
taken = socket.create_server(("127.0.0.1", 0))
other = server.grpc.server(None, options=[("grpc.so_reuseport", 0)])
try:
    other.add_insecure_port("127.0.0.1:%d" % taken.getsockname()[1])
except RuntimeError:
    print("refused")
"""


@pytest.mark.parametrize(("verbosity", "silent"), [(None, True), ("ERROR", False)])
def test_the_library_writes_its_errors_only_where_that_is_asked_for(verbosity, silent):
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    if verbosity is not None:
        environment["GRPC_VERBOSITY"] = verbosity
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "refused\n"
    assert (done.stderr == "") == silent
