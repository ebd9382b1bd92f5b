"""What goes to the object store and comes from there: checkpoints, large objects in parts, names."""
