"""The swarm's memory: the store (engine), its network service (service), the client of everyone else (client)."""
