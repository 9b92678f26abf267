"""gRPC service of the memory: `memory.proto`, its generated code and the implementation.

statuses: maps errors to statuses; messages: converts entries and changes; servicer: implements the calls;
server: port, tokens, health and reflection.
"""

import os

# The library in C would write lines to standard error that are no JSON, some about what a client has sent.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
