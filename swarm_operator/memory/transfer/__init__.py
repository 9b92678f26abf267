"""Export, import, restore and migration of a store's entries."""
