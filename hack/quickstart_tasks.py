"""Gives the agents of a swarm some tasks, waits until they are done, and prints how many each agent has done. In a pod.

Usage: quickstart_tasks.py NUMBER
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

from swarm_operator.memory.client import SyncMemoryClient

_DEADLINE = 120.0


def main(number: int) -> int:
    """Run once; returns the exit code."""
    # Another run's tasks may be there still.
    run, started = f"{time.time():.0f}", time.monotonic()
    token_file = Path(os.environ["SWARM_MEMORY_TOKEN_FILE"])
    with SyncMemoryClient(os.environ["SWARM_MEMORY_URL"], token_file=token_file, retry_for=30.0) as memory:
        names = [f"quickstart-{run}-{each}" for each in range(number)]
        for name in names:
            memory.tasks.create(id=name, description=f"Note that {name} is done")
        left, done_by = set(names), Counter[str]()
        while left and time.monotonic() - started < _DEADLINE:
            time.sleep(0.2)
            for name in sorted(left):
                task = memory.tasks.get(name)
                if task and task["status"] == "completed":
                    left.remove(name)
                    done_by[task["claimedBy"]] += 1
    for agent, count in sorted(done_by.items()):
        print(f"  {agent} has done {count} tasks")
    if left:
        print(f"error: {len(left)} tasks were not done in {_DEADLINE:.0f} s")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
