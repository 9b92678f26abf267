"""Garbage collection: deletes expired entries and releases unused pages."""
