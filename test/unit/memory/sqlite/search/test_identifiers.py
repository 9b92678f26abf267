"""Identifiers in texts, queries and snippets."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.sqlite.search import fulltext, identifiers


def matches(asked, value, key="k", language="none"):
    expression = Query.create(text=asked).expression
    return fulltext.matching(expression, [(1, key, value)], language) == {1}


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ("payment_gateway_timeout", ("payment", "gateway", "timeout", "payment_gateway_timeout", "payment_gate*",
                                     "PaymentGateway", "paymentGatewayTimeout", "GatewayTime*", '"gateway timeout"')),
        ("payment-gateway", ("gateway", "payment-gateway", "payment_gateway", "PaymentGateway")),
        ("PaymentGateway", ("payment", "gateway", "gate*", "paymentgateway", "PAYMENTGATEWAY", "paymentg*", "PaymentG*",
                            "payment_gateway", "payment-gate*", "PaymentGateway", '"payment gateway"')),
        ("HTTPServer2Error", ("http", "server", "server2", "error", "2", "HTTPServer", "HTTPServer2Er*", "Server2Error",
                              "http-server", "server-2", "httpserver2error", "httpserv*")),
        ("userID", ("user", "id", "user_id")),
        ("see GitHub Actions", ("github", "GitHub", "hub", '"github actions"', '"GitHub actions"', '"see GitHub"')),
        ("see github actions", ("GitHub", '"GitHub Actions"', "GitH*")),
    ],
)  # fmt: skip
def test_identifiers_are_found_by_their_parts_and_as_a_whole(value, asked):
    for each in asked:
        assert matches(each, f"it is {value}, or not"), each
        assert matches(each, "other", key=f"key:{value}"), each


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ("PaymentGateway OrderService", ('"gateway order"', '"service payment"', "gatewayorder", "GatewayOrder")),
        ("the PaymentGateway", ('"paymentgateway payment"', "gate", "PaymentGate")),
        ("2026-11-26T16:47:53Z 01ARZ3NDEKTSV4RRFFQ69G5FAV sha256", ("26", "sha", "5fav")),
        ("x" * 40 + "Gateway" + "y" * 40, ("gateway",)),
    ],
)
def test_what_is_no_part_is_not_found(value, asked):
    for each in asked:
        assert not matches(each, value), each


def test_a_phrase_does_not_go_on_from_the_parts_of_an_identifier():
    assert not matches('"gateway other"', "PaymentGateway OtherThing")
    assert not matches('"error http"', "HTTPServer2Error")
    assert not matches('"failed payment"', "PaymentGateway failed")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("value : PaymentGateway", "payment_gateway"),
        ("NEAR(PaymentGateway down, 2)", "the payment-gateway is down"),
        ("nothing OR GitHub actions", "git-hub actions"),
        ("^PaymentGateway", "payment gateway down"),
        ("PaymentGateway + is + do*", "payment gateway is down"),
        ("is NOT GitHub", "it is payment_gateway"),
        ('"a ""PaymentGateway"" is"', "a payment gateway is"),
        ("{key value} : (PaymentGateway AND (GitHub OR down))", "payment_gateway down"),
    ],
)
def test_expressions_ask_for_the_parts_too(expression, value):
    fulltext.check(expression)
    assert fulltext.matching(expression, [(1, "k", value)], "none") == {1}
    assert not fulltext.matching("is NOT PaymentGateway", [(1, "k", "it is payment_gateway")], "none")


TERMS = st.sampled_from(
    (
        "a", "fooBar", '"fooBar x"', '"a ""B"', "HTTPServer*", '"aB" *', "^aB", "aB + c", "NEARBY", "ORder", "äÖ",
        "aÖbC", "NEAR(aB c, 3)", 'NEAR("aB c" d)', "key : aB", "-value:aB", "{key value} : aB",
    )
)  # fmt: skip
EXPRESSIONS = st.recursive(
    st.lists(TERMS, min_size=1, max_size=3).map(" ".join),
    lambda inner: (
        st.builds("({}) {} {}".format, inner, st.sampled_from(("AND", "OR", "NOT")), inner)
        | st.builds("key : ({})".format, inner)
    ),
    max_leaves=4,
)


@given(EXPRESSIONS)
def test_an_expression_stays_one_and_finds_what_it_found(expression):
    """The texts have no parts of identifiers, so what is found by the expression itself is found."""
    fulltext.check(expression)
    table = fulltext._table("none")
    with fulltext._filled([(1, "foobar", "ab c httpserver"), (2, "ab", "foobar x"), (3, "c", "d")], "none"):
        plain = table.execute(fulltext._MATCHING, (expression,)).fetchall()
        found = table.execute(fulltext._MATCHING, (identifiers.asked(expression),)).fetchall()
    assert found == plain


@given(st.text("aB1_ \"'*()^+-:{},ORNEÄ", max_size=30))
def test_any_text_is_no_expression_or_can_be_asked(expression):
    with contextlib.suppress(InvalidInputError):
        fulltext.check(expression)
        fulltext.matching(expression, [(1, "k", "aB")], "none")


def extract(expression, value, key="k", language="none"):
    return fulltext.extracts(expression, [(1, key, value)], language)[1]


@pytest.mark.parametrize(
    ("expression", "value", "snippet"),
    [
        ("gateway", "the PaymentGateway failed", "the Payment**Gateway** failed"),
        ('"payment gateway"', "the PaymentGateway failed", "the **PaymentGateway** failed"),
        ("PaymentGateway", "a payment_gateway", "a **payment_gateway**"),
        ("server", "the HTTPServer2Error", "the HTTP**Server**2Error"),
        ("server2", "the HTTPServer2Error", "the HTTP**Server2**Error"),
        ("serv*", "the HTTPServer2Error", "the HTTP**Server2**Error"),
        ('"github actions" hub', "GitHub Actions", "Git**Hub** Actions"),
        ("github hub", "GitHub Actions", "**GitHub** Actions"),
        ("gateway", "gateway of PaymentGateway", "**gateway** of PaymentGateway"),
        ("user", "… " * 9 + "userName, " * 40, "… " * 9 + "**user**Name, **user**Name, **user**Name, userName…"),
    ],
)  # fmt: skip
def test_snippets_mark_what_matches(expression, value, snippet):
    assert extract(expression, value).snippet == snippet


@given(
    st.lists(st.sampled_from(("word", "the", "fooBar", "HTTPServer2Error", "x", "…", "**", "GitHub")), max_size=60),
    st.sampled_from(("bar", "word", "server", '"foo bar"', "github", "git", '"the" "server2"', "hub NOT x")),
)
def test_snippets_are_parts_of_their_texts(words, expression):
    value = " ".join(words)
    for extract in fulltext.extracts(expression, [(1, "k", value)], "none").values():
        inner = extract.snippet.removeprefix("…").removesuffix("…")
        assert inner.replace("**", "") in value.replace("**", "")
        assert extract.fields == ("value",)


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("red", ("key", "value")),
        ("blue", ("key",)),
        ("green", ("value",)),
        ("blue green", ("key", "value")),
        ("key : red", ("key",)),
        ("green NOT (blue red nothing)", ("value",)),
        ("gateway", ("key",)),
        ("green OR (blue nothing)", ("value",)),
    ],
)
def test_the_fields_are_those_with_words_that_match(expression, fields):
    assert extract(expression, "red green", key="red:blue:PaymentGateway").fields == fields


def test_english_ignores_endings():
    assert matches("retries", "it retried twice", language="english")
    assert not matches("retries", "it retried twice")
    assert extract("retries", "it retried twice", language="english").snippet == "it **retried** twice"
    assert matches("gateway", "PaymentGateways are slow", language="english")
    assert matches("PaymentGateway", "payment_gateways", language="english")
    assert matches("gatewa*", "PaymentGateways", language="english")


def test_accents_do_not_matter():
    assert matches("sao", "São Paulo")
    assert matches("nang", "nặng")  # two marks on one letter


@given(st.lists(st.text("aB1_ é", max_size=12), min_size=1, max_size=6))
def test_the_parts_of_many_texts_are_those_of_each(texts):
    raw = [text.encode() for text in texts]
    found = dict(identifiers.additions(b"\n".join(raw), map(len, raw)))
    assert [found.get(number, "") for number in range(len(texts))] == [identifiers.addition(text) for text in raw]


def test_data_adds_little():
    assert identifiers.addition(b"AaBbCcDdEeFfGgHh") != ""
    assert identifiers.addition(b"AaBbCcDdEeFfGgHhIi") == ""
    many = " ".join(f"AaBb{number}" for number in range(identifiers.MAX_IDENTIFIERS + 50))
    few = " ".join(many.split()[: identifiers.MAX_IDENTIFIERS])
    assert identifiers.addition(many.encode()) == identifiers.addition(few.encode())
    assert dict(identifiers.additions(many.encode(), [len(many)])) == {0: identifiers.addition(many.encode())}
