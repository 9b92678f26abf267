"""Migration of legacy memory into a store."""
