"""The examples: what there is, and how one of them is brought to a cluster."""
