"""Curves over training, and what stands around and beside them."""
