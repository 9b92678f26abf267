"""`hack/embedding-model.sh`, with a program in pip's place: a registry is not needed here."""

import subprocess

import pytest
from support.pages import TOP

PYTHON = """#!/bin/sh
# As pip, it downloads one wheel.
if [ "$2" = pip ]; then
    printf '%s ' "$@" >>"$0-calls"
    while [ "$1" != --dest ]; do shift; done
    cat "$4" >"$0-asked"
    mkdir -p "$2/made/wordllama/weights" "$2/made/wordllama-1.dist-info/licenses"
    echo weights >"$2/made/wordllama/weights/w"
    echo licence >"$2/made/wordllama-1.dist-info/licenses/LICENSE"
    cd "$2/made" && python3 -m zipfile -c "$2/wordllama-1-any.whl" wordllama wordllama-1.dist-info
else
    exec python3 "$@"
fi
"""
LOCK = """tokenizers==0.22.0 \\
    --hash=sha256:1
wordllama==1 ; python_full_version < '3.14' and platform_machine == 'x86_64' \\
    --hash=sha256:2 \\
    --hash=sha256:3
    # via swarm-operator
yarl==1.20 \\
    --hash=sha256:4
"""


@pytest.fixture
def python(tmp_path):
    program = tmp_path / "python"
    program.write_text(PYTHON)
    program.chmod(0o700)
    return program


def run(python, lock):
    site = python.parent / "site"
    site.mkdir()
    python.with_name("lock").write_text(lock)
    command = [TOP / "hack/embedding-model.sh", python, python.with_name("lock"), site]
    subprocess.run(command, check=True, timeout=60)
    return site


def test_the_files_come_from_a_wheel_for_another_machine_by_their_hashes(python):
    site = run(python, LOCK)
    assert (site / "wordllama/weights/w").read_text() == "weights\n"
    assert (site / "wordllama-1.dist-info/licenses/LICENSE").read_text() == "licence\n"
    assert python.with_name("python-asked").read_text() == (
        "wordllama==1 \\\n    --hash=sha256:2 \\\n    --hash=sha256:3\n"
    )
    calls = python.with_name("python-calls").read_text()
    assert "--require-hashes --no-deps --only-binary=:all: --platform manylinux2014_x86_64" in calls


def test_an_image_without_the_model_asks_for_nothing(python):
    site = run(python, LOCK.replace("wordllama==", "other=="))
    assert not [*site.iterdir()]
    assert not python.with_name("python-calls").exists()
