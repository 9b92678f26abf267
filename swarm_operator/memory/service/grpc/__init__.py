"""gRPC service of the memory: `memory.proto`, its generated code and the implementation.

statuses: maps errors to statuses; messages: converts entries and changes; servicer: implements the calls;
server: port, tokens, health and reflection.
"""
