"""Requests for entries as bytes, and their responses."""

import re

from unit.memory.conftest import TOKEN

PATIENCE = 60
FIELDS = [b"Host: x", b"Authorization: Bearer " + TOKEN.encode()]
READER, TEAM = "reader-0123456789abcdef", "team-0123456789abcdefg"


def request(method, path, *fields, body=None):
    lines = [b"%b %b HTTP/1.1" % (method, path), *fields]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


async def response(reader, method):
    """Read a response, and those before it that only ask for the body."""
    found = b""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        found += head
        if not head.startswith(b"HTTP/1.1 100"):
            break
    length = re.search(rb"content-length: (\d+)", head)
    if length is not None and method != b"HEAD":
        found += await reader.readexactly(int(length[1]))
    return found
