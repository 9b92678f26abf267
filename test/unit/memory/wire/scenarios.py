"""All scenarios. Each is played on a service of its own."""

from unit.memory.wire import (
    grpc_scenario,
    http_admin,
    http_backups,
    http_entries,
    http_leases,
    http_records,
    http_rights,
    mcp_scenario,
    store_of_before,
)

SCENARIOS = [
    *(
        each.SCENARIO
        for each in (
            http_entries,
            http_records,
            http_admin,
            http_backups,
            http_leases,
            http_rights,
            grpc_scenario,
            mcp_scenario,
        )
    ),
    store_of_before.READ,
    store_of_before.WRITTEN,
]
