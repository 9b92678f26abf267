"""GitHub tokens of a swarm's agents: minted for an installation of a GitHub App, renewed, mounted and revoked."""
