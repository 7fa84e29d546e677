"""Monitor for loops of one's own: plain PyTorch, and Lightning Fabric."""
