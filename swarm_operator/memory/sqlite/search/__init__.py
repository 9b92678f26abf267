"""Search: query planner and search indexes."""
