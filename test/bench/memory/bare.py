"""A server that does nothing, on the same framework as the service: what there is to win. `python bare.py PORT`."""

from __future__ import annotations

import sys

import uvicorn

_BODY = b'{"value":{"text":"' + b"x" * 200 + b'"}}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())],
}
_REST = {"type": "http.response.body", "body": _BODY}


async def app(scope, receive, send) -> None:
    """Read the body, answer as many bytes as the service does."""
    if scope["method"] != "GET":
        while (await receive()).get("more_body"):
            pass
    await send(_START)
    await send(_REST)


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", ws="none", log_config=None,
        access_log=False, server_header=False,
    )  # fmt: skip
