"""Database tables: one module per table."""
