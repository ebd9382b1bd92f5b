"""Datasets: those that a stage is given, and the one that a stage of preparation makes."""
