"""Agents of a SwarmCluster: their pods, what these know of each other, and how their number changes."""
