"""`make docker-buildx`, with a program in Docker's place that notes how it is called: a registry is not needed here."""

import os
import subprocess

import pytest
from support.pages import TOP

DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$CALLS"
[ "$*" != "buildx inspect swarm-operator" ]
"""


@pytest.fixture
def docker(tmp_path):
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o700)
    return tmp_path / "calls"


def build(docker, **environment):
    subprocess.run(
        ["make", "docker-buildx"], check=True, cwd=TOP, timeout=60,
        env={
            **os.environ, "CALLS": str(docker), "SWARM_CACHE_DIR": str(docker.parent / "cache"),
            "PATH": f"{docker.parent / 'bin'}:{os.environ['PATH']}", **environment,
        },
    )  # fmt: skip
    return [line for line in docker.read_text().splitlines() if line.startswith("buildx ")]


def test_both_images_are_built_for_each_platform_and_pushed(docker):
    calls = build(docker, IMG="r:5000/operator:1", MEMORY_IMG="r:5000/memory:1", PLATFORMS="linux/amd64,linux/s390x")
    assert "buildx create --name swarm-operator" in calls
    made = [call for call in calls if call.startswith("buildx build ")]
    assert len(made) == 2
    for call, target, image in zip(made, ("operator", "memory"), ("r:5000/operator:1", "r:5000/memory:1"), strict=True):
        assert "--builder swarm-operator --platform linux/amd64,linux/s390x --push" in call
        assert f"--target {target} -t {image} " in call


def test_amd64_and_arm64_are_the_default(docker):
    assert any("--platform linux/amd64,linux/arm64 " in call for call in build(docker))
