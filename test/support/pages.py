"""The examples in docs/: what is indented there by four columns, commands and what they answer."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
COMMAND = re.compile(r"^\$ (.*?)(?=\n\$ |\n[{a-z]|\Z)", re.DOTALL | re.MULTILINE)
"""A command and the lines that go on with it, in a block; what it answers follows."""
_EXCHANGE = re.compile(r"^\$ ((?:.*\\\n)*.*)\n?((?:(?!\$ ).*\n?)*)", re.MULTILINE)
_BLOCK = re.compile(r"^(?: {4}.*\n|\n(?= {4}))+", re.MULTILINE)


def blocks(page: str) -> list[str]:
    """A page's examples."""
    return [textwrap.dedent(found).strip("\n") for found in _BLOCK.findall((DOCS / page).read_text())]


def exchanges(block: str) -> list[tuple[str, str]]:
    """An example's commands, each with the lines that it goes on for, and what each answers."""
    return _EXCHANGE.findall(block)


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression for an answer: `...` is anything, times and scores are any, line breaks don't matter."""
    joined = re.escape(one_line(text))
    joined = re.sub(r"(,\\ |,)?\\\.\\\.\\\.(,\\ )?", ".*", joined)
    joined = re.sub(r"\d{4}\\-\d\d\\-\d\dT[\d:]+\\\.\d+Z", r"[0-9T:.Z-]+", joined)
    return re.compile(re.sub(r'(?<="score":)[\d\\.]+', r"[\\d.e-]+", joined))


def one_line(text: str) -> str:
    """Without its line breaks and the blanks around them."""
    return re.sub(r"\s*\n\s*", "", text)
