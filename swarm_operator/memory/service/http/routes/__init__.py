"""HTTP operations, one module for each resource."""
