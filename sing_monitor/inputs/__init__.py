"""Batches, loaders and data sets: their images, labels, pixels and class names."""
