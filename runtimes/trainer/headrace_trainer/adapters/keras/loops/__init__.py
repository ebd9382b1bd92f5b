"""Loops of the script's own, which train without `fit`."""
