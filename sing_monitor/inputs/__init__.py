"""What batches, loaders and data sets say: images, labels, pixels, class names."""
