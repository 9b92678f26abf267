"""All scenarios. Each is played on a service of its own."""

from unit.memory.wire import http_entries

SCENARIOS = [http_entries.SCENARIO]
