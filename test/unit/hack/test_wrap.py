"""hack/wrap.py wraps prose at 100 columns, and leaves what must stay as it is."""

import runpy
import subprocess
import sys

import pytest
from support.pages import TOP

wrapped = runpy.run_path(str(TOP / "hack" / "wrap.py"))["wrapped"]
WORDS = "word " * 30


def test_prose_is_wrapped():
    lines = wrapped(WORDS).splitlines()
    assert [len(line) for line in lines] == [99, 49]
    assert " ".join(lines) == WORDS.strip()


@pytest.mark.parametrize("mark", ["- ", "12. ", "- [ ] ", "> ", "  - "])
def test_lines_of_an_item_are_aligned(mark):
    first, second = wrapped(mark + WORDS).splitlines()
    assert first.startswith(f"{mark}word ")
    assert second.startswith("> word" if ">" in mark else " " * len(mark) + "word")
    assert len(first) <= 100


@pytest.mark.parametrize(
    "text",
    [
        f"| {WORDS} |\n| --- |\n",
        f"```console\n$ {WORDS}\n\n{WORDS}\n```\n",
        f"~~~\n```\n{WORDS}\n~~~\n",
        f"text\n\n    {WORDS}\n",
        f"# {WORDS}\n",
        "w" * 120 + "\n",
        f"[{'w' * 120}](https://{'w' * 120}.example)\n",
        f"`{WORDS}`\n",
        f"[name]: https://x.example {'w' * 120}\n",
        "short lines\nstay as they\nwere broken\n",
    ],
    ids=["table", "fence", "fence in a fence", "code", "heading", "word", "link", "span", "target", "short"],
)
def test_other_text_stays(text):
    assert wrapped(text) == text


def test_an_item_ends_where_the_next_begins():
    assert wrapped(f"- {WORDS}\n- next\n2. {WORDS}") == f"{wrapped(f'- {WORDS}')}- next\n{wrapped(f'2. {WORDS}')}"


def test_a_span_of_code_is_not_broken():
    assert "\n`a code span` " in wrapped("w" * 95 + " `a code span` " + WORDS)


@pytest.mark.parametrize("word", ["-", "+", "1.", "#", ">5", "|", "="])
def test_no_line_begins_with_a_word_that_has_a_meaning_there(word):
    first = wrapped("w" * 99 + f" {word} {WORDS}").splitlines()[0]
    assert first == "w" * 99 + f" {word}"


def test_the_result_stays():
    text = wrapped(f"- {WORDS}`a b`\n  {WORDS}\n\n{WORDS}")
    assert wrapped(text) == text


def test_check_names_a_page_that_is_not_wrapped(tmp_path):
    (tmp_path / "hack").mkdir()
    script = tmp_path / "hack" / "wrap.py"
    script.write_text((TOP / "hack" / "wrap.py").read_text())
    page = tmp_path / "page.md"
    page.write_text(WORDS)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "page.md"], cwd=tmp_path, check=True)

    def run(*options):
        return subprocess.run([sys.executable, script, *options], check=False, capture_output=True, text=True)

    checked = run("--check")
    assert checked.returncode == 1
    assert checked.stdout.startswith("page.md has prose of more than 100 columns")
    assert page.read_text() == WORDS
    assert run().returncode == 0
    assert page.read_text() == wrapped(WORDS)
    assert run("--check").returncode == 0
