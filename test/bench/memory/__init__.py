"""What the memory service costs: HTTP, the engine alone, a bare server and Redis, on one machine in one run."""
