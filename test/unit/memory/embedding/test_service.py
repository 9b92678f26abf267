"""The service with an embedder, as a process of its own."""

import signal

from support.embeddings import MODEL


async def test_the_service_serves_with_the_static_embedder(fork_process):
    process = await fork_process("--embedder", "static")
    assert process.log[-1]["event"] == "serving"
    assert await process.stop(signal.SIGTERM) == 0


async def test_the_endpoint_is_needed_at_the_start_only_without_a_width(fork_process, server, tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-0123456789abcdef")
    flags = (
        "--embedder",
        "http",
        "--embedder-url",
        server.url,
        "--embedder-model",
        MODEL,
        "--embedder-key-file",
        str(key),
    )
    server.key = "another"
    process = await fork_process(*flags)
    assert await process.stop(signal.SIGTERM) == 1
    assert process.log[-1]["event"] == "cannot serve"
    assert "status 401: the key is refused" in process.log[-1]["reason"]
    assert "0123456789abcdef" not in str(process.log)
    process = await fork_process(*flags, "--embedder-width", "256")
    assert process.log[-1]["event"] == "serving"
    assert await process.stop(signal.SIGTERM) == 0
    server.key = key.read_text()
    process = await fork_process(*flags)
    assert process.log[-1]["event"] == "serving"
    assert await process.stop(signal.SIGTERM) == 0
