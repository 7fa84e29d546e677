"""Classifier heads: search, reading weight and features, row space and null space."""
