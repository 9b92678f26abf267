"""Named backups at a destination: a folder or an object store. The catalog makes, verifies and deletes them."""
