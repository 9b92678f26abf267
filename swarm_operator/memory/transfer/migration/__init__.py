"""Migration of legacy memory: claude-flow's JSON stores and SQLite databases, and exports of ours, into a store.

sources finds the files; json_stores and databases read them; entries and records map their contents to our entries;
staging decides between entries of the same name; targets writes the entries; quarantine and report list the outcomes.
"""
