"""Search: plans and the indexes that they use."""
