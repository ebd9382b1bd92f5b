"""How sure a difference between two models is, measured on the same rows. On numpy alone, without I/O."""
