"""The model at an attempt's end: looked at, described, uploaded."""
