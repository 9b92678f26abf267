"""The pages: every command of theirs is run by a test or has a reason why not, and their links lead somewhere."""

import re

import pytest
from support.page_runs import ELSEWHERE, NOT_RUN, RUN_BY, runner
from support.pages import DOCS, PAGES, TOP, Command, commands, console, exchanges

PROGRAMS = r"(?:\w+=\S+ )*(?:curl|docker|git|grpcurl|hack/\S+|helm|kind|kubectl|make|npm|npx|pip|python3?|swarm-\w+) "
EXAMPLE = re.compile(rf"(?:^```(?:console|shell|sh|bash)\n|\n\n    |\n    ){PROGRAMS}", re.MULTILINE)


def test_the_pages_are_found():
    assert {"README.md", "hack/kind/README.md", "docs/design/walks.md", "docs/in-a-cluster.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_each_command_has_a_test_or_a_reason(page):
    for command in commands(page):
        test = runner(page, command)
        if test is not None:
            text = (TOP / test).read_text()
            assert "to_run(" in text, test
            assert re.search(rf"\b{re.escape(page.rpartition('/')[2])}\"", text), (page, test)


@pytest.mark.parametrize("page", PAGES)
def test_a_command_begins_with_a_dollar(page):
    """Without it, it would be an answer, or no command at all, and nothing would run it."""
    assert not EXAMPLE.findall((TOP / page).read_text())


def test_no_page_is_listed_that_has_no_commands_any_more():
    assert {page for page in PAGES if any(runner(page, command) for command in commands(page))} >= set(RUN_BY)
    for page, start in (*ELSEWHERE, *NOT_RUN):
        assert any(command.text.startswith(start) for command in commands(page)), (page, start)


def test_a_command_of_an_unknown_page_is_noticed():
    with pytest.raises(KeyError):
        runner("docs/new.md", Command("true", ""))


@pytest.mark.parametrize(
    "text", ["```console\nkubectl get pods\n```\n", "word\n\n    make deploy\n", "a\n\n    A=b curl x\n"]
)
def test_a_command_without_a_dollar_is_noticed(text):
    assert EXAMPLE.search(text)


def test_examples_are_read_as_a_shell_reads_them():
    fenced = "a\n\n```console\n$ one 'a\n  b' # isn't it\nanswer\nmore\n$ two \\\n  three\n```\n\n"
    indented = "    $ four\n    five\n\n    {}\n\nb\n"
    assert [exchanges(block) for block in console(fenced + indented)] == [
        [Command("one 'a\n  b' # isn't it", "answer\nmore"), Command("two \\\n  three", "")],
        [Command("four", "five\n\n{}")],
    ]


def links(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", (TOP / page).read_text()):
        if "://" not in target:
            yield target.partition("#")


def anchors(path):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for path, _, anchor in links(page):
        target = ((TOP / page).parent / path).resolve() if path else TOP / page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), (path, anchor)


def test_the_index_has_every_page():
    listed = {((DOCS / path).resolve()) for path, _, _ in links("docs/index.md")}
    assert {TOP / page for page in PAGES} - listed == {DOCS / "index.md"}
