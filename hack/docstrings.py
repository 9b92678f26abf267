"""Names the functions whose docstring does not begin with a verb of hack/verbs.txt. ruff's D401 knows fewer words.

Properties are left out: their docstrings may begin with a noun. A verb that is missing in the list can be added.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SOURCES = ["swarm_operator/*.py", "hack/*.py", "examples/*.py", ":!*_pb2*.py"]


def without_verb(source: str, verbs: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Yield the line and the first word of each function's docstring that begins with no verb."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_property(node):
            continue
        words = (ast.get_docstring(node) or "").split(maxsplit=1)
        if words and words[0].rstrip(".,:;").lower() not in verbs:
            yield node.lineno, words[0]


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list)


def main() -> int:
    """Check the sources; returns the exit code."""
    verbs = frozenset((TOP / "hack" / "verbs.txt").read_text(encoding="utf-8").split())
    listed = subprocess.run(["git", "ls-files", "-z", *SOURCES], cwd=TOP, check=True, capture_output=True, text=True)
    found = False
    for name in listed.stdout.split("\0")[:-1]:
        for line, word in without_verb((TOP / name).read_text(encoding="utf-8"), verbs):
            found = True
            print(f"{name}:{line}: the docstring begins with {word!r}; an imperative verb of hack/verbs.txt is allowed")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
