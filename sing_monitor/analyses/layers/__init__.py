"""How much room features keep: effective rank and principal components."""

from sing_monitor.analyses.layers.ranks import effective_rank, pca_dimension

__all__ = ["effective_rank", "pca_dimension"]
