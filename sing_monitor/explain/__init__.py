"""Explanations of single images: concepts, scores, neighbours, maps, pictures."""
