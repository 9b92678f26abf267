"""How often a question finds the fact that answers it, although the two have no word in common."""
