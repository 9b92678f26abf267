"""Restores of backups into the store that is in use: whole, by replacing the database, or a part of the entries."""
