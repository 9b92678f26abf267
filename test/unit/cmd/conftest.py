"""A memory service for the client commands, and the commands in this process."""

import json
import os
import subprocess

import pytest

from swarm_operator.cmd import memory as command


@pytest.fixture
def serve(tmp_path, zygote):
    """serve(*flags) starts a service on tmp_path/data, gives its address, and must end it cleanly."""
    started = []

    def start(*flags):
        reading, output = os.pipe()
        ports = ("--http-port", "0", "--metrics-port", "0")
        log = os.fdopen(reading)
        started.append(
            (zygote.start("serve", "--data-dir", str(tmp_path / "data"), *ports, *flags, output=output), log)
        )
        os.close(output)
        for line in log:
            event = json.loads(line)
            if event["event"] == "serving":
                return event["http"]
        raise AssertionError("it does not serve")

    yield start
    for process, log in started:
        process.terminate()
        log.read()
        log.close()
        assert process.wait(60) == 0


@pytest.fixture
def run(capsys):
    """run(*arguments) runs a command in this process, whose output is no terminal; returns what subprocess.run does."""

    def run(*arguments):
        capsys.readouterr()
        try:
            code = command.main([*arguments])
        except SystemExit as end:
            code = end.code
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture
def clean_environment(monkeypatch, tmp_path):
    """No variables of the memory, and an empty directory to work in."""
    for name in ("CACHE_SIZE", "DATA_DIR", "SWARM_MEMORY_URL", "SWARM_MEMORY_TOKEN_FILE", "TOKEN_DIR", "SWARM_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
