"""Renders config/crd/bases from swarm_operator/api. With --check it writes nothing and fails when they are stale."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from swarm_operator.api import crd
from swarm_operator.api.v1alpha1 import KINDS

BASES = Path(__file__).resolve().parent.parent / "config" / "crd" / "bases"

HEADER = "# Made by `make manifests` from swarm_operator/api. Edit that instead.\n"


def main() -> int:
    """Write the files, or compare them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    check = parser.parse_args().check
    BASES.mkdir(parents=True, exist_ok=True)
    wanted = {f"{kind.GROUP}_{kind.PLURAL}.yaml": HEADER + crd.to_yaml(crd.render(kind)) for kind in KINDS}
    present = {path.name: path.read_text(encoding="utf-8") for path in BASES.glob("*.yaml")}
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if check:
        for name in stale:
            print(f"{name} is stale: run `make manifests` and commit the result")
        return 1 if stale else 0
    for name in stale:
        if name in wanted:
            (BASES / name).write_text(wanted[name], encoding="utf-8")
        else:
            (BASES / name).unlink()
        print(f"{name} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
