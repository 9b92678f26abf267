"""Group commit: the only code that writes entries."""
