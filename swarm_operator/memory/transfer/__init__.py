"""Export, import and restore of a store's entries."""
