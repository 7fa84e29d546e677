"""What a network sees as alike in images, wherever it stands: permutation-invariant similarity."""

from sing_monitor.analyses.similarity.matching import match
from sing_monitor.analyses.similarity.matrices import similarity_matrices

__all__ = ["match", "similarity_matrices"]
