"""Wraps the prose of Markdown pages at 100 columns. With --check it only names the pages that are not wrapped.

Tables, code, headings and words that are longer than a line stay. A paragraph that fits stays as it was broken.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PAGES = ["*.md", ":!.github"]  # GitHub shows a line break of a template as one
COLUMNS = 100
_FENCE = re.compile(r" {0,3}(```|~~~)")
_PREFIX = re.compile(r"(?: {0,3}> ?)*(?: {0,3}(?:[-*+]|\d+[.)]) +(?:\[[ x]\] )?)? {0,3}")
_ITEM = re.compile(r" {0,3}(?:>|[-*+] |\d+[.)] )")
_KEPT = re.compile(r"\s*$| {4}|#|\||<|\[[^\]]+\]: |\s*(?:---+|===+)\s*$|.*(?:  |\\)$")
"""Lines that belong to no paragraph: blanks, code, headings, tables, HTML, targets of links, rules and hard breaks."""
_WORD = re.compile(r"(?:(`+)(?!`).*?(?<!`)\1(?!`)|\S)+")
"""Parts that are not broken: characters without a blank, such as spans of code."""
_MARKER = re.compile(r"(?:[-*+=]|#+|\d+[.)])$|[>|]")
"""A word that would begin a list, a heading, a quotation or a table at the start of a line."""


def wrapped(text: str) -> str:
    """Return the text of a page with each paragraph that has a line of more than 100 columns wrapped."""
    lines: list[str] = []
    paragraph: list[str] = []
    fence = ""
    for line in text.splitlines():
        opened = _FENCE.match(line)
        if fence or opened or _KEPT.match(line):
            lines += _fill(paragraph)
            paragraph = []
            lines.append(line)
            if opened and fence in {"", opened[1]}:
                fence = "" if fence else opened[1]
        elif _ITEM.match(line):
            lines += _fill(paragraph)
            paragraph = [line]
        else:
            paragraph.append(line)
    return "\n".join([*lines, *_fill(paragraph)]) + "\n"


def _fill(paragraph: list[str]) -> list[str]:
    if all(len(line) <= COLUMNS for line in paragraph):
        return paragraph
    begun = _PREFIX.match(paragraph[0])
    prefix = begun[0] if begun else ""
    indent = re.sub(r"[^>]", " ", prefix)
    lines = [prefix]
    for word in _words(" ".join([paragraph[0].removeprefix(prefix), *(line.strip() for line in paragraph[1:])])):
        if lines[-1] == prefix:
            lines[-1] += word
        elif len(lines[-1]) + 1 + len(word) > COLUMNS:
            lines.append(indent + word)
        else:
            lines[-1] += f" {word}"
    return lines


def _words(text: str) -> list[str]:
    words: list[str] = []
    for match in _WORD.finditer(text):
        if words and _MARKER.match(match[0]):
            words[-1] += f" {match[0]}"
        else:
            words.append(match[0])
    return words


def main() -> int:
    """Wrap the pages, or name those that are not; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only name the pages that are not wrapped")
    check = parser.parse_args().check
    listed = subprocess.run(["git", "ls-files", "-z", *PAGES], cwd=TOP, check=True, capture_output=True, text=True)
    found = False
    for page in (TOP / name for name in listed.stdout.split("\0")[:-1]):
        text = page.read_text(encoding="utf-8")
        wanted = wrapped(text)
        if wanted == text:
            continue
        found = True
        name = page.relative_to(TOP)
        if check:
            print(f"{name} has prose of more than {COLUMNS} columns: run `make wrap` and commit the result")
        else:
            page.write_text(wanted, encoding="utf-8")
            print(f"{name} written")
    return int(check and found)


if __name__ == "__main__":
    sys.exit(main())
