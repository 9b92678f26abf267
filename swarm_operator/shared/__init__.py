"""Definitions that the operator and the memory service share: limits of settings, and the format of the token files.

The two programs meet over the network only; neither imports the other. This package imports no other package of this
project.
"""
