"""What tests of copies of a database share."""

import pytest


@pytest.fixture
def place(tmp_path):
    """The path of a copy, in a directory of its own."""
    (tmp_path / "restore").mkdir()
    return tmp_path / "restore" / "copy.db"
