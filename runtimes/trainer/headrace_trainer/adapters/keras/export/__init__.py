"""The model that is meant, in the formats that can be made of it."""
