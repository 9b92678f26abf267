"""Tasks: the queue, its rules, dependencies and priorities."""
