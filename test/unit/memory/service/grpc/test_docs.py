"""docs/grpc.md says what is so: its example in Python runs. Those for grpcurl run in e2e/test_grpc.py."""

import textwrap

from support.pages import blocks


async def test_the_example_runs(served):
    (code,) = (block for block in blocks("grpc.md") if block.startswith("import grpc"))
    scope = {}
    exec("async def example(address, token):\n" + textwrap.indent(code, "    "), scope)
    await scope["example"](f"127.0.0.1:{served.server.port}", "client-0123456789abcdef")
