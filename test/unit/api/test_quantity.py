from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydantic import TypeAdapter, ValidationError

from swarm_operator.api.duration import parse_duration
from swarm_operator.api.quantity import Interval, StorageSize, canonical_quantity, parse_quantity

SUFFIXES = ["", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]

SIZES = {
    "0": 0,
    "1": 1,
    "1k": 1000,
    "1Ki": 1024,
    "500M": 500 * 1000**2,
    "10Gi": 10 * 1024**3,
    "1.5Ti": 3 * 1024**4 // 2,
    "0.5Ki": 512,
    "1E": 1000**6,
    "1Ei": 1024**6,
    "010Gi": 10 * 1024**3,
}


@pytest.mark.parametrize(("text", "size"), SIZES.items())
def test_a_quantity_is_a_number_of_bytes(text, size):
    assert parse_quantity(text) == size


@pytest.mark.parametrize(("text", "size"), [("0.1", 1), ("1.5", 2), ("0.1Ki", 103), ("0.0001k", 1)])
def test_fractions_of_a_byte_are_rounded_up(text, size):
    assert parse_quantity(text) == size


@pytest.mark.parametrize(
    "text", ["", "Gi", "10 Gi", "10gi", "10GB", "-1Gi", "1e3", "1.Gi", ".5Gi", "1Gi\n", "1K", "0x1"]
)
def test_what_is_no_quantity_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="such as 10Gi"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("1000M", "1G"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1000Mi", "1000Mi"),
        ("0Gi", "0"),
        ("1024Ki", "1Mi"),
        ("4174.86Mi", "4377658k"),
        ("010Gi", "10Gi"),
        ("10Gi", "10Gi"),
    ],
)
def test_the_canonical_form_is_that_of_the_api_server(text, canonical):
    assert canonical_quantity(text) == canonical


quantities = st.builds(
    lambda whole, digits, suffix: f"{whole}{'.' + digits if digits else ''}{suffix}",
    st.integers(0, 10**6),
    st.text("0123456789", max_size=6),
    st.sampled_from(SUFFIXES),
)


@given(quantities)
def test_the_canonical_form_keeps_the_value(text):
    assert parse_quantity(canonical_quantity(text)) == parse_quantity(text)


@given(quantities)
def test_the_canonical_form_is_its_own(text):
    canonical = canonical_quantity(text)
    assert canonical_quantity(canonical) == canonical


@given(quantities)
def test_the_canonical_form_has_no_fraction_and_the_largest_suffix_of_its_family(text):
    canonical = canonical_quantity(text)
    assert "." not in canonical
    number = int(canonical.rstrip("kKMGTPEi"))
    base = 1024 if canonical.endswith("i") else 1000
    assert number == 0 or number % base or canonical.endswith(("E", "Ei"))


@given(quantities)
def test_a_quantity_is_the_product_of_its_number_and_its_unit(text):
    number = text.rstrip("kKMGTPEi")
    unit = text[len(number) :]
    power = " KMGTPE".index(unit[0].upper()) if unit else 0
    exact = Fraction(number) * (1024 if unit.endswith("i") else 1000) ** power
    assert parse_quantity(text) == -(-exact.numerator // exact.denominator)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("90s", 90),
        ("1m30s", 90),
        ("1h1m1s1ms", 3661.001),
    ],
)
def test_a_duration_is_a_number_of_seconds(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "-5m", "5d", "5M", "1h 30m", "5m\n", "1.h", "5µs"])
def test_what_is_no_duration_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="such as 5m"):
        parse_duration(text)


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(["h", "m", "s", "ms"])), min_size=1, max_size=5))
def test_a_duration_is_the_sum_of_its_parts(parts):
    whole = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_duration(whole) == pytest.approx(sum(parse_duration(f"{number}{unit}") for number, unit in parts))


@pytest.mark.parametrize("text", ["0", "0Gi", "0.0Gi"])
def test_a_volume_has_a_size(text):
    with pytest.raises(ValidationError, match="greater than zero"):
        TypeAdapter(StorageSize).validate_python(text)


@pytest.mark.parametrize("text", ["0s", "999ms", "0.9s"])
def test_an_interval_is_at_least_a_second(text):
    with pytest.raises(ValidationError, match="1s or longer"):
        TypeAdapter(Interval).validate_python(text)


def test_a_size_and_an_interval_stay_as_they_were_written():
    assert TypeAdapter(StorageSize).validate_python("1024Mi") == "1024Mi"
    assert TypeAdapter(Interval).validate_python("60s") == "60s"
