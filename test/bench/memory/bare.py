"""A server that does nothing but answer the same bytes, on the framework of the service: what there is to win.

`python bare.py PORT`
"""

from __future__ import annotations

import sys

import uvicorn

_ENTRY = (
    b'{"namespace":"bench","key":"k7777","version":1,"size":200,"ttl":0,"created_at":"2026-11-23T12:00:00.000Z",'
    b'"updated_at":"2026-11-23T12:00:00.000Z","expires_at":null'
)
_WHOLE = _ENTRY + b',"tags":[],"metadata":{},"value":{"text":"' + b"x" * 189 + b'"}}'
_HEAD = _ENTRY + b"}"


def _answer(body: bytes) -> tuple[dict, dict]:
    headers = [
        (b"content-type", b"application/json"),
        (b"etag", b'"1"'),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


_GET, _PUT = _answer(_WHOLE), _answer(_HEAD)


async def app(scope, receive, send) -> None:
    """Read the body, answer the bytes that the service would."""
    answer = _GET
    if scope["method"] != "GET":
        answer = _PUT
        while (await receive()).get("more_body"):
            pass
    for message in answer:
        await send(message)


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", ws="none", log_config=None,
        access_log=False, server_header=False,
    )  # fmt: skip
