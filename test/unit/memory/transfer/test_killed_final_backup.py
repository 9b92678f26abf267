"""A final backup is killed at its steps."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLED = Path(__file__).with_name("killed_final_backup.py")


@pytest.mark.parametrize("how", ["made", "failed"])
def test_what_is_acknowledged_after_a_kill_at_any_step_is_in_the_final_backup(tmp_path, how):
    command = [sys.executable, KILLED, tmp_path, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = done.stdout.split()
    assert outcomes.count("taken") > 3
    assert outcomes.count("refused") > 3
