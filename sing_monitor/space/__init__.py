"""Semantic spaces: image and text embeddings, weights, and the cache of embeddings."""
