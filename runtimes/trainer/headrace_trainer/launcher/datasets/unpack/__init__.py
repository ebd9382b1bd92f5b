"""Datasets that are stored compressed, or as archives, and that the script finds as files."""
