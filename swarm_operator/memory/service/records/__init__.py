"""Table of the operations on records, from which the operations of each protocol are derived.

- operation: the classes of a row; schemas: fields of several rows
- agents, tasks, patterns, consensus, leases, messages: the rows, by topic
- table: all rows
"""
