"""What runs in a training pod: `launcher` is its PID 1, `child` runs the user's script in a process of its own."""
