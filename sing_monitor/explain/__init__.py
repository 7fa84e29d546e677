"""Explanations of single images: concepts, scores, neighbors, maps, pictures."""
