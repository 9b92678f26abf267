"""The memory of a swarm.

core      the contract of a store: entries, writes, queries, pages, changes, errors
sqlite    the SQLite engine behind that contract
swarm     records of agents, tasks, patterns, consensus and messages, on any store
transfer  export, import and restore of entries
service   the network service: HTTP, gRPC and MCP
client    the Python client of the service
"""
