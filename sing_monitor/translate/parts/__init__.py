"""Refits and probes on the two parts of features: what a head sees of them, and what not."""
