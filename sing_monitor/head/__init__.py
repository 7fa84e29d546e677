"""The classifier head of a model: finding it, reading it, and its row space and null space."""
