"""What users write: models of both kinds and the CRDs rendered from them."""
