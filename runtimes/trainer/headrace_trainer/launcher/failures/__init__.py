"""How an attempt ended: one failure, with its cause and what to do, or none."""
