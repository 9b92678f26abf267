"""What the operator and the memory service must agree on: limits of settings, and the format of the token files.

The two programs meet over the network only; neither imports the other. This package imports nothing of ours.
"""
