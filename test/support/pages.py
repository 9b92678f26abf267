"""The examples of the pages: commands and what they answer, indented by four columns or fenced as ```console."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"
PAGES = sorted(
    str(path.relative_to(TOP))
    for path in (*DOCS.rglob("*.md"), *(TOP / name for name in ("README.md", "CONTRIBUTING.md", "hack/kind/README.md")))
)
"""Every page that has, or may come to have, commands for its readers."""
_BLOCK = re.compile(r"^(?: {4}[^\n]*\n|\n(?= {4}))+", re.MULTILINE)
_CONSOLE = re.compile(rf"^```console\n(?P<fenced>.*?)^```$|(?P<indented>{_BLOCK.pattern})", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command of a page, and what the page shows as its answer, if anything."""

    text: str
    answer: str


def blocks(page: str) -> list[str]:
    """The indented examples of a page of docs/."""
    return [textwrap.dedent(found).strip("\n") for found in _BLOCK.findall((DOCS / page).read_text())]


def exchanges(block: str) -> list[Command]:
    """The commands of an example. One goes on in the next line after a backslash, and inside quotes."""
    found: list[tuple[str, list[str]]] = []
    lines = block.splitlines()
    while lines:
        line = lines.pop(0)
        if line.startswith("$ "):
            text = line.removeprefix("$ ")
            while lines and _goes_on(text):
                text += "\n" + lines.pop(0)
            found.append((text, []))
        elif found:
            found[-1][1].append(line)
    return [Command(text, "\n".join(answer).strip("\n")) for text, answer in found]


def commands(page: str) -> list[Command]:
    """All commands of a page, which is named by its path in the repository."""
    return [command for block in console((TOP / page).read_text()) for command in exchanges(block)]


def console(text: str) -> list[str]:
    """The examples of a page's text that have commands."""
    found = [textwrap.dedent(match["fenced"] or match["indented"]).strip("\n") for match in _CONSOLE.finditer(text)]
    return [block for block in found if re.search(r"^\$ ", block, re.MULTILINE)]


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression for an answer: `...` is anything, times and scores are any, line breaks don't matter."""
    joined = re.escape(one_line(text))
    joined = re.sub(r"(,\\ |,)?\\\.\\\.\\\.(,\\ )?", ".*", joined)
    joined = re.sub(r"\d{4}\\-\d\d\\-\d\dT[\d:]+\\\.\d+Z", r"[0-9T:.Z-]+", joined)
    return re.compile(re.sub(r'(?<="score":)[\d\\.]+', r"[\\d.e-]+", joined))


def one_line(text: str) -> str:
    """Without its line breaks and the blanks around them."""
    return re.sub(r"\s*\n\s*", "", text)


def _goes_on(text: str) -> bool:
    if text.endswith("\\"):
        return True
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False
