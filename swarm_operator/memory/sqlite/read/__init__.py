"""Reads: the cache and the reader connections."""
