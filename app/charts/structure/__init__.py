"""How classes resemble each other, and images: graphs, matrices, matched places."""
