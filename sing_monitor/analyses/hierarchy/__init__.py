"""How classes resemble each other: class forests, Similarity Depth and compliance of errors."""

from sing_monitor.analyses.hierarchy.compliance import Compliance, compliance
from sing_monitor.analyses.hierarchy.confusions import confusion_similarity
from sing_monitor.analyses.hierarchy.depth import similarity_depth
from sing_monitor.analyses.hierarchy.forests import Forest, class_forest

__all__ = [
    "Compliance",
    "Forest",
    "class_forest",
    "compliance",
    "confusion_similarity",
    "similarity_depth",
]
