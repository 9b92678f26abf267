"""Texts of people become expressions: whatever stands in a question, it is no syntax error."""

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
