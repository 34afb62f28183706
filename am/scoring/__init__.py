"""Word error rates, their confidence, comparisons between systems and the table of results."""
