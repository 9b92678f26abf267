"""A restore in place is killed at its steps."""

import subprocess
import sys
from pathlib import Path

KILLED = Path(__file__).with_name("killed_restore.py")


def test_a_kill_at_any_step_leaves_the_old_data_or_the_new_and_the_safety_backup_is_made(tmp_path):
    done = subprocess.run([sys.executable, KILLED, tmp_path], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = done.stdout.split()
    assert set(outcomes) == {"old", "new"}
    assert outcomes.count("old") > 3
    assert outcomes.count("new") > 3
