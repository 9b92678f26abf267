"""The database file and its connections."""
