"""Entries in and out of a store: export, import, restore."""
