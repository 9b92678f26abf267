"""Legacy memory that is brought into a store."""
