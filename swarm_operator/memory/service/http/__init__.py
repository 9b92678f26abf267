"""HTTP API: operations, their schemas and routes."""
