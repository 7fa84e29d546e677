"""The hierarchy against the semantic space: how near in meaning classes are that are held alike.

With a semantic space for a reference there is no depth in nodes; the quantity is ours, after
Similarity Depth, and called soft.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.hierarchy.analysis import hierarchy_of
from sing_monitor.analyses.hierarchy.depth import between, by_chance
from sing_monitor.analyses.hierarchy.forests import strongest_tree
from sing_monitor.analyses.hierarchy.matrices import Floats, above_diagonal, as_symmetric
from sing_monitor.analyses.hierarchy.ranks import spearman
from sing_monitor.analyses.hierarchy.specs import TEXT_METRICS
from sing_monitor.analyses.hierarchy.templates import cosines, directions
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation


def soft_depth(edges: Tensor, reference: Floats) -> float:
    """Mean reference similarity over edges, from chance (0) to the reference's own tree (1).

    Args:
        edges: of a class tree, (E, 2).
        reference: similarity of each pair, (C, C), symmetric; NaN: not known.

    Returns:
        At most 1 for a tree that joins all classes; below 0 where the edges join classes that are
        less alike than any two. NaN without edges, where one is not known, or where all pairs are
        equally alike.
    """
    values = as_symmetric("reference", reference)
    pairs = edges.numpy()
    if not len(pairs) or np.isnan(values).any():
        return math.nan
    own = strongest_tree(values - values.min() + 1)
    return between(_mean(values, pairs), by_chance(values), _mean(values, own))


def _mean(values: Floats, pairs: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> float:
    return float(values[pairs[:, 0], pairs[:, 1]].mean())


def analyze_text_hierarchy(observation: Observation) -> Findings:
    """How near in the semantic space classes are that the head holds alike.

    Returns:
        Scalars ``hierarchy/soft_depth`` and ``hierarchy/soft_agreement``.
    """
    found = observation.once(hierarchy_of)
    texts = observation.class_texts.detach().double().numpy()
    reference = cosines(directions(texts, np.linalg.norm(texts, axis=1)))
    return Findings(
        {
            "hierarchy/soft_depth": soft_depth(found.tree.edges, reference),
            "hierarchy/soft_agreement": spearman(
                above_diagonal(found.similarity), above_diagonal(reference)
            ),
        }
    )


ANALYSIS = Analysis(
    "text_hierarchy",
    analyze_text_hierarchy,
    TEXT_METRICS,
    needs=frozenset({"labels", "embeddings"}),
    part_of="hierarchy",
)
