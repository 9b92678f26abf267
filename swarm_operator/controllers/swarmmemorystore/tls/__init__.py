"""TLS of stores: the operator's CA, the certificates of stores, and what clients trust."""
