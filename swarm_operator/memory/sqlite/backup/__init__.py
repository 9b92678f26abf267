"""Online backups and offline verification of the database file."""
