"""Models of the custom resources, and the CRDs rendered from them."""
