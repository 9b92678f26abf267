"""HTTP operations, a module for each subject."""
