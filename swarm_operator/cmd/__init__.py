"""The two programs: flags and wiring only."""
