"""Trials of a TrainingJob with spec.tuning: what they are, when they begin, and what they come to."""
