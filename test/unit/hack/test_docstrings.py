"""hack/docstrings.py finds the functions whose docstring does not begin with a verb."""

import runpy

import pytest
from support.pages import TOP

script = runpy.run_path(str(TOP / "hack" / "docstrings.py"))
VERBS = frozenset((TOP / "hack" / "verbs.txt").read_text().split())


def found(source):
    return list(script["without_verb"](source, VERBS))


@pytest.mark.parametrize("text", ["Whether it is on.", "Seconds, as a number.", "Returns a name.", "The name."])
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_another_word_is_named_with_its_line(kind, text):
    assert found(f'class A:\n    {kind} f(self):\n        """{text}"""') == [(2, text.split()[0])]


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """Return a name."""',
        'def f():\n    """Yield: nothing."""',
        "def f():\n    pass",
        'class A:\n    """Thing of a kind."""',
        'class A:\n    @property\n    def f(self):\n        """Thing of a kind."""',
        'class A:\n    @functools.cached_property\n    def f(self):\n        """Thing of a kind."""',
    ],
    ids=["verb", "colon", "none", "class", "property", "cached property"],
)
def test_other_docstrings_are_not(source):
    assert found(source) == []


def test_the_verbs_are_sorted_and_listed_once():
    lines = (TOP / "hack" / "verbs.txt").read_text().splitlines()
    assert lines == sorted(VERBS)
