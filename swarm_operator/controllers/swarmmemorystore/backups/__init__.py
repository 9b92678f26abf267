"""Backups of a store: where they are kept, and when they are made."""
