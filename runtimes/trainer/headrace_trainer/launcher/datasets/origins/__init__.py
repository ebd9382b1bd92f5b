"""Where datasets come from: a module for each kind of place, and which of them an address names."""
