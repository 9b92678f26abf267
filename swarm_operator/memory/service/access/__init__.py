"""Access: tokens, principals and the store that checks rights."""
