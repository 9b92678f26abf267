"""Consensus: proposals and votes."""
