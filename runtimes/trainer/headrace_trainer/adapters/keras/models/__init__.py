"""Which of a script's models is meant, and what it is made of."""
