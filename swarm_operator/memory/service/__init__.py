"""The memory over the network: a thin translation between HTTP and the engine, with tokens, limits and metrics."""
