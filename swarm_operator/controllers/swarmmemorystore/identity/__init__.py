"""The file by which a store's service verifies the tokens of pods."""
