"""Access control: tokens, principals and the store wrapper that checks permissions."""
