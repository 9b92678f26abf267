"""Tables of the database: one module for each."""
