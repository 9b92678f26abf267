"""docs/grpc.md says what is so: its example runs."""

import re
import textwrap
from pathlib import Path

PAGE = (Path(__file__).parents[5] / "docs/grpc.md").read_text()


async def test_the_example_runs(served):
    (block,) = re.findall(r"^(?: {4}.*\n|\n(?= {4}))+", PAGE, re.MULTILINE)
    scope = {}
    exec("async def example(address, token):\n" + textwrap.indent(textwrap.dedent(block), "    "), scope)
    await scope["example"](f"127.0.0.1:{served.server.port}", "client-0123456789abcdef")
