"""The held-out rows: files become columns, columns what a model takes and what is true."""
