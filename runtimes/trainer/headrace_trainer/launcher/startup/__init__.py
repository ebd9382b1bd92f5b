"""What each Python of a program of `framework: Script` runs first; the folder is on its PYTHONPATH."""
