import pytest

from swarm_operator.runtime.health import Checks


@pytest.fixture
def checks():
    made = Checks()
    made.add("good", lambda: None)
    made.add("bad", lambda: "because")
    return made


def test_every_check_is_run_and_ping_is_always_there(checks):
    assert checks.run() == {"ping": None, "good": None, "bad": "because"}


def test_one_check_can_be_run(checks):
    assert checks.run(only="good") == {"good": None}
    assert checks.run(only="bad") == {"bad": "because"}


def test_an_unknown_check_is_not_a_good_one(checks):
    assert checks.run(only="unknown") is None


def test_checks_can_be_left_out(checks):
    assert checks.run(exclude=["bad", "unknown"]) == {"ping": None, "good": None}


@pytest.mark.parametrize("name", ["ping", "good"])
def test_two_checks_cannot_have_one_name(checks, name):
    with pytest.raises(ValueError, match=name):
        checks.add(name, lambda: None)
