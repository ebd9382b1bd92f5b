"""`fit`, as it is followed: its data's order, its progress and checkpoints, and going on in its middle."""
