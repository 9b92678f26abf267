"""Parts that all reconcilers share. They know no concern of a particular kind."""
