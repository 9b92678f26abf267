"""Embedders of the service, which make vectors of entries and questions; core.embedding has their contract."""
