"""The program of a stage of tuning: which parameters the next trials have, and what all of them came to."""
