"""HTTP: operations, their schemas and routes."""
