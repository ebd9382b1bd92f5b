"""Why the model says what it says: of a sample of the rows, and which columns matter. It fails no evaluation."""
