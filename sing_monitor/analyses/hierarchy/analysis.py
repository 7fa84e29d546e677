"""The hierarchy that a network has learnt, and how far its errors follow it."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.hierarchy.compliance import compliance
from sing_monitor.analyses.hierarchy.confusions import (
    confusion_counts,
    confusion_similarity,
    errors_of,
)
from sing_monitor.analyses.hierarchy.depth import between, similarity_depth
from sing_monitor.analyses.hierarchy.forests import MOST_QUICKLY, Forest, class_forest
from sing_monitor.analyses.hierarchy.layout import class_layout
from sing_monitor.analyses.hierarchy.matrices import Floats, Integers, above_diagonal, min_max
from sing_monitor.analyses.hierarchy.nearest_images import nearest_images
from sing_monitor.analyses.hierarchy.ranks import spearman
from sing_monitor.analyses.hierarchy.reference import Reference, find_reference
from sing_monitor.analyses.hierarchy.specs import METRICS
from sing_monitor.analyses.hierarchy.tables import (
    CLASS_EDGES,
    CLASS_GRAPH,
    Edges,
    graph_table,
    largest,
)
from sing_monitor.analyses.hierarchy.templates import centered, cosines, directions
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.reduced import whole

if TYPE_CHECKING:
    from pandas import DataFrame

_EDGES, _CLASSES = "hierarchy/edges", "hierarchy/classes"
# Pairs of classes whose nearest images are listed.
_WITH_IMAGES = 32


class Hierarchy:
    """What the head's templates and the probe's errors say of the classes.

    Args:
        snapshot: of one validation, not reduced.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._weight = snapshot.weight.detach().double().numpy()
        self._lengths = np.linalg.norm(self._weight, axis=1)
        self.units = directions(centered(snapshot.weight), self._lengths)
        self.similarity = cosines(self.units)
        self.tree = class_forest(self.similarity)
        self.clustered = class_forest(self.similarity, "affinity")
        classes = len(snapshot.class_names)
        self.counts = confusion_counts(snapshot.labels, snapshot.predictions, classes)
        self.errors = int(self.counts.sum() - self.counts.trace())
        self.confusion = confusion_similarity(self.counts).numpy()
        # Of so many classes most are never confused, and affinity propagation swings for seconds
        # between clusters equally good.
        self.are_errors_clustered = classes <= MOST_QUICKLY
        self.error_clustered = (
            class_forest(self.confusion, "affinity", scale=False)
            if self.are_errors_clustered
            else self.error_tree
        )

    @cached_property
    def error_tree(self) -> Forest:
        """The confusions' one tree."""
        return class_forest(self.confusion, scale=False)

    @cached_property
    def raw(self) -> Floats:
        """Cosines of templates that are not centered."""
        return cosines(directions(self._weight, self._lengths))

    @property
    def is_known(self) -> bool:
        """Whether any two templates have a direction."""
        return not np.isnan(above_diagonal(self.similarity)).all()


def hierarchy_of(observation: Observation) -> Hierarchy:
    """The hierarchy of an observation's head and errors."""
    return Hierarchy(whole(observation.snapshot))


def analyze_hierarchy(observation: Observation) -> Findings:
    """How classes resemble each other in the head, and how far errors follow that.

    Filus, Romaszewski, Zarski, "Semantic Depth Matters" (arXiv 2504.09956); templates are centered
    unless a name ends in ``raw``.

    Returns:
        Scalars ``hierarchy/*``, NaN where they are undefined, tables ``class_edges`` and
        ``class_graph``; kept is the tree, and pictured the images of ``class_edges``.
    """
    snapshot, found = whole(observation.snapshot), observation.once(hierarchy_of)
    reference = find_reference(snapshot.class_names, snapshot.hierarchy)
    scalars = {
        **dict.fromkeys((spec.key for spec in METRICS), math.nan),
        **_resemblance(found, reference),
        **_errors(found),
        "hierarchy/tree_change": _change(found, observation),
    }
    edges = _edge_table(snapshot, found, reference)
    pictured = {image for name in ("images_a", "images_b") for of in edges[name] for image in of}
    return Findings(
        scalars,
        {"class_edges": edges, "class_graph": _graph_table(snapshot, found)},
        kept={_EDGES: found.tree.edges, _CLASSES: torch.tensor([len(found.similarity)])},
        pictured=frozenset(pictured),
    )


def _resemblance(found: Hierarchy, reference: Reference | None) -> dict[str, float]:
    """Scalars of the templates, with and without a reference."""
    is_grouped = found.is_known and found.clustered.converged
    clusters = float(found.clustered.clusters) if is_grouped else math.nan
    if reference is None:
        return {"hierarchy/clusters": clusters}
    depth = reference.common.depth
    sought = similarity_depth(found.tree.edges, depth)
    return {
        "hierarchy/similarity_depth": sought,
        "hierarchy/similarity_depth_raw": similarity_depth(class_forest(found.raw).edges, depth),
        "hierarchy/similarity_depth_clustered": similarity_depth(found.clustered.edges, depth),
        "hierarchy/similarity_depth_clustered_raw": similarity_depth(
            class_forest(found.raw, "affinity").edges, depth
        ),
        "hierarchy/similarity_depth_relative": between(sought, reference.chance, reference.best),
        "hierarchy/clusters": clusters,
        "hierarchy/confusion_depth": similarity_depth(found.error_tree.edges, depth),
        "hierarchy/agreement": spearman(
            above_diagonal(found.similarity), above_diagonal(reference.common.path_similarity)
        ),
    }


def _errors(found: Hierarchy) -> dict[str, float]:
    """Scalars of the errors, and of how far they follow the templates."""
    scalars = {"hierarchy/errors": float(found.errors)}
    # Centered templates of two classes always lie opposite each other: they explain nothing.
    if not found.errors or not found.is_known or len(found.similarity) < 3:
        return scalars
    if found.error_clustered.converged and found.are_errors_clustered:
        scalars["hierarchy/error_clusters"] = float(found.error_clustered.clusters)
    explained = compliance(found.clustered, found.error_clustered)
    return {
        **scalars,
        "hierarchy/confusion_agreement": spearman(
            above_diagonal(found.similarity), above_diagonal(found.confusion)
        ),
        "hierarchy/compliance_direct": explained.direct_explained,
        "hierarchy/compliance_direct_chance": explained.direct_chance,
        "hierarchy/compliance_extended": explained.extended_explained,
        "hierarchy/compliance_extended_chance": explained.extended_chance,
    }


def _change(found: Hierarchy, observation: Observation) -> float:
    """``1 - |both| / |either|`` of the edges of this tree and the last one; NaN without one."""
    previous, classes = observation.previous.get(_EDGES), observation.previous.get(_CLASSES)
    if previous is None or classes is None or classes.tolist() != [len(found.similarity)]:
        return math.nan
    old, new = (_as_pairs(edges) for edges in (previous, found.tree.edges))
    return 1 - len(old & new) / len(old | new) if old | new else math.nan


def _as_pairs(edges: Tensor) -> set[tuple[int, int]]:
    return {(first, second) for first, second in edges.tolist()}


def _edge_table(snapshot: Snapshot, found: Hierarchy, reference: Reference | None) -> DataFrame:
    """The table ``class_edges``."""
    from pandas import DataFrame, Index

    forests = [found.tree, found.clustered, found.error_clustered]
    in_tree, in_weights, in_errors = (forest.edges.numpy() for forest in forests)
    closest = largest(found.similarity)
    confused = largest(found.confusion, above=0.0)
    edges = Edges.of(len(found.similarity), [in_tree, in_weights, in_errors, closest, confused])
    first, second = edges.pairs.T
    names, clusters = Index(snapshot.class_names), found.clustered.labels.numpy()
    images = _images_of(snapshot, found, edges, np.concatenate([confused, closest]))
    return DataFrame(
        {
            "class_a": names.take(first),
            "class_b": names.take(second),
            "similarity": found.similarity[first, second],
            "confusion": found.confusion[first, second],
            "confusions": found.counts[first, second] + found.counts[second, first],
            "depth": np.full(len(first), np.nan)
            if reference is None
            else reference.depth[first, second],
            "ancestor": [
                "" if reference is None else reference.ancestor(*pair) for pair in edges.pairs
            ],
            "cluster": np.where(clusters[first] == clusters[second], clusters[first], -1),
            "in_tree": edges.are_among(in_tree),
            "in_weights": edges.are_among(in_weights),
            "in_errors": edges.are_among(in_errors),
            "images_a": [of for of, _ in images],
            "images_b": [of for _, of in images],
        }
    )


def _images_of(
    snapshot: Snapshot, found: Hierarchy, edges: Edges, sought: Integers
) -> list[tuple[list[str], list[str]]]:
    """Images of both classes of every edge, of the first few of the pairs sought alone."""
    codes = sought[:, 0] * edges.classes + sought[:, 1]
    places = np.searchsorted(edges.codes, list(dict.fromkeys(codes.tolist()))[:_WITH_IMAGES])
    images: list[tuple[list[str], list[str]]] = [([], []) for _ in edges.codes]
    nearest = nearest_images(snapshot, found.units, edges.pairs[places])
    for place, of in zip(places.tolist(), nearest, strict=True):
        images[place] = of
    return images


def _graph_table(snapshot: Snapshot, found: Hierarchy) -> DataFrame:
    """The table ``class_graph``; without clusters the classes stand in one tree."""
    forest = _drawn(found)
    places = class_layout(
        np.nan_to_num(min_max(found.similarity)), forest.labels.numpy(), forest.edges.numpy()
    )
    return graph_table(
        snapshot.class_names,
        found.clustered.labels.numpy(),
        found.counts,
        errors_of(found.counts),
        places,
    )


def _drawn(found: Hierarchy) -> Forest:
    return found.clustered if found.clustered.converged else found.tree


ANALYSIS = Analysis(
    "hierarchy",
    analyze_hierarchy,
    METRICS,
    (CLASS_EDGES, CLASS_GRAPH),
    needs=frozenset({"labels"}),
)
