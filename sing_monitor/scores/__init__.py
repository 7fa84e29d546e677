"""Scores and statistics on embeddings: angles, support, bootstrap intervals, class leaks."""
