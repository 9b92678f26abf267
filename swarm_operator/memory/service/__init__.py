"""Network service of the memory: maps HTTP, gRPC and MCP requests to the store, with tokens, limits and metrics."""
