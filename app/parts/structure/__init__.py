"""Parts of the pages Hierarchy and Similarity."""
