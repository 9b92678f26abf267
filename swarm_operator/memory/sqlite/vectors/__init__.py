"""Vectors of entries: their table, the follower that embeds entries, and searches by meaning and hybrid."""
