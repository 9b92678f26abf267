"""Texts of people become expressions: whatever stands in a question, it is no syntax error."""

import re

import pytest

from swarm_operator.memory.core import expressions
from swarm_operator.memory.core.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("stuck que*", '"stuck" "que*" *'),
        ("Who has used A*?", '"Who" "has" "used" "A*?"'),
        ("A* or B*", '"A*" "or" "B*"'),
        ("a*b x.a* x.ab*", '"a*b" "x.a*" "x.ab*" *'),
        ('Is "A*" a star?', '"Is" "A*" "a" "star?"'),
    ],
)
def test_a_star_starts_a_word_of_two_letters_or_more(text, expression):
    assert expressions.words("text", text) == expression


def test_an_expression_of_fts5_may_not_begin_a_word_with_one_letter():
    with pytest.raises(InvalidInputError, match="at least 2 characters before a star"):
        expressions.expression("match", "a*")


@pytest.mark.parametrize(
    ("text", "used"),
    [
        (" ".join(f"w{number}" for number in range(32)), None),
        (" ".join(f"w{number}" for number in range(33)), 32),
        ("again " * 300, None),
        ("x" * 1025 + " short", 1),
        (f"{'é' * 300} {'è' * 300} {'ê' * 100}", 2),
        ('"' + "a phrase " * 33 + '" and more', 2),
        (" ".join(["a.b.c"] + [f"d{number}.e{number}.f" for number in range(30)]), 21),
    ],
    ids=["32 words", "33 words", "repeated", "long word", "long words", "long phrase", "words with dots"],
)
def test_the_first_words_of_a_long_text_are_used(text, used):
    """At most 32 words and phrases, with 64 words and 1024 bytes; one that is too long for the rest is left out."""
    assert expressions.words_used(text) == used
    expression = expressions.words("text", text)
    assert len(re.findall(r"\w+", expression)) <= 64
    assert len(expression.encode()) <= 1024 + 32 * 3
    if used == 32:
        assert expression == " ".join(f'"w{number}"' for number in range(32))


@pytest.mark.parametrize("text", ["", "?!", "x" * 1025, "word " * 1639, "a\0b"], ids=range(5))
def test_a_text_without_a_word_or_of_more_than_8192_bytes_is_refused(text):
    with pytest.raises(InvalidInputError, match=r"text: (1 to 8192 bytes|at least one word of at most 1024 bytes)"):
        expressions.words("text", text)
