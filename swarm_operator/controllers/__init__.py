"""The two reconcilers and their pure builders."""
