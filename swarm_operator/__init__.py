"""Swarm Operator: durable SQLite memory for swarms of LLM agents on Kubernetes."""

__version__ = "0.1.0"
