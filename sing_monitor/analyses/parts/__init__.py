"""What is read from the part of a feature that the head sees, and from the part it does not."""
