"""Garbage collection: delete expired entries, give unused pages back."""
