"""Embedders of the service, which make the vectors of entries and of questions; core.embedding has their contract."""
