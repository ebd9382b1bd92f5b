"""What a job declares of its tables, done by a process of its own before the script."""
