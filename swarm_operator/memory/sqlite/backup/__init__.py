"""Backups and the check of a database file."""
