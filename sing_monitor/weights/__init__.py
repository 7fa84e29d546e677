"""Weights of a network: which of them are followed, and their trajectories."""
