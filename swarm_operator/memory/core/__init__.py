"""The contract of a store, which every engine, protocol and record shares. Imports nothing of ours."""
