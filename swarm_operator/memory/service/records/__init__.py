"""Table of the operations on records, from which each protocol makes its own.

- operation: what a row says; schemas: fields that several rows have
- agents, tasks, patterns, consensus, leases, messages: the rows, by topic
- table: all of them
"""
