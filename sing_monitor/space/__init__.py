"""Semantic spaces: image and text embeddings, their weights and their cache."""
