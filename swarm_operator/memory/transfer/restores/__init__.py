"""Restores of backups into a store in use: of the complete database, or of a part of its entries."""
