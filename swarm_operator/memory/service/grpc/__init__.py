"""The memory over gRPC: `memory.proto`, its generated code, and what answers it.

statuses: from what went wrong to a status; messages: entries and changes to and from messages; servicer: the calls;
server: the port, tokens, health and reflection.
"""
