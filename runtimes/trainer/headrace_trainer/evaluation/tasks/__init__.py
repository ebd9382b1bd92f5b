"""What is measured of a model, by what it is for. Each task has its metrics twice: as scikit-learn computes them, which
is what is told, and as sums over rows, of which the bootstrap makes its resamples.
"""
