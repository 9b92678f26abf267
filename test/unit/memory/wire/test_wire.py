"""What is sent over HTTP, gRPC and MCP is, byte for byte, what it was when the recordings were made (see recording)."""

import pytest
from unit.memory.wire import recording
from unit.memory.wire.scenarios import SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_answers_are_those_that_were_recorded(scenario, tmp_path):
    differences = recording.differences(recording.read(scenario.name), recording.play(scenario, tmp_path))
    assert not differences, "\n" + differences
