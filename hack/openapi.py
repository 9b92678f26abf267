"""Writes docs/openapi.json from the memory service's code. With --check it only fails when that is stale."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from swarm_operator.memory.service.http import openapi

TARGET = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def main() -> int:
    """Write the file, or compare it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    check = parser.parse_args().check
    wanted = json.dumps(openapi.document(), indent=1, sort_keys=True) + "\n"
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == wanted:
        return 0
    if check:
        print(f"{TARGET.name} is stale: run `make openapi` and commit the result")
        return 1
    TARGET.write_text(wanted, encoding="utf-8")
    print(f"{TARGET.name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
