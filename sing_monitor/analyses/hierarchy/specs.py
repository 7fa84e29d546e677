"""Metrics of the hierarchy, with all that a reader needs to understand them."""

from __future__ import annotations

from sing_monitor.findings import MetricGroup, MetricSpec

_PAPER = "Filus, Romaszewski, Zarski 2025"
_REFERENCE = (
    "Needs a reference: `hierarchy=`, or ImageNet's classes; compare runs of one reference alone."
)
_CLUSTERED = "NaN where affinity propagation does not converge."
_ERRORS = "NaN for two classes, without errors, or where affinity propagation does not converge."
_ONE_TREE = "Above 500 classes the errors' forest is one tree."

HIERARCHY = MetricGroup("hierarchy", "Hierarchy")

METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "hierarchy/similarity_depth",
        "Similarity Depth",
        "1",
        "higher",
        "mean over edges (a, b) of the maximum spanning tree of cos(w_a - mean w, w_b - mean w) of "
        "depth(lowest common ancestor of a and b), the root being 1",
        _PAPER,
        "How specific the kinship is of classes that the head holds alike, in nodes from the root. "
        f"NaN for two classes. {_REFERENCE}",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/similarity_depth_raw",
        "Similarity Depth, raw templates",
        "1",
        "higher",
        "the same of cos(w_a, w_b)",
        _PAPER,
        "The paper's own. A vector added to all rows of the head changes it, and no prediction.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/similarity_depth_clustered",
        "Similarity Depth in clusters",
        "1",
        "higher",
        "the same over the trees of all clusters by affinity propagation",
        _PAPER,
        f"Similarity Depth without what joins the clusters. {_CLUSTERED}",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/similarity_depth_clustered_raw",
        "Similarity Depth in clusters, raw templates",
        "1",
        "higher",
        "the same of cos(w_a, w_b)",
        _PAPER,
        f"The paper's headline. {_CLUSTERED}",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/similarity_depth_relative",
        "Similarity Depth, chance to reference",
        "ratio",
        "higher",
        "(SD - SD of permuted classes) / (SD of the reference's tree - SD of permuted classes)",
        "ours",
        "0: classes that the head holds alike are no closer kin than any two; 1: as close as those "
        "that the reference itself joins.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/clusters",
        "Clusters of classes",
        "count",
        "none",
        "clusters of cos(w_a - mean w, w_b - mean w) by affinity propagation",
        _PAPER,
        f"Groups of classes that the head holds alike. {_CLUSTERED}",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/error_clusters",
        "Clusters of confused classes",
        "count",
        "none",
        "clusters of the confusions by affinity propagation",
        _PAPER,
        "Groups of classes that are taken for each other. NaN for two classes or more than 500, "
        "without errors, or where affinity propagation does not converge.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/confusion_depth",
        "Similarity Depth of errors",
        "1",
        "higher",
        "Similarity Depth of the maximum spanning tree of (R + R')/2, R the shares of each class's "
        "images by predicted class",
        _PAPER,
        "How specific the kinship is of classes that are taken for each other. High: errors stay "
        "in the family. NaN without errors.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/agreement",
        "Agreement with the reference",
        "1",
        "higher",
        "Spearman over pairs of cos(w_a - mean w, w_b - mean w) and 1/(d + 1), d the edges between "
        "the classes in the reference",
        "ours",
        f"Whether classes that are close kin are held alike, over all pairs; -1 to 1. {_REFERENCE}",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/confusion_agreement",
        "Agreement of templates and errors",
        "1",
        "none",
        "Spearman over pairs of cos(w_a - mean w, w_b - mean w) and (R + R')/2",
        "ours",
        "Whether classes that are held alike are taken for each other, over all pairs; -1 to 1. "
        "Needs no reference. NaN without errors.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/compliance_direct",
        "Errors explained by an edge",
        "share",
        "higher",
        "edges of both forests / edges of the errors' forest",
        _PAPER,
        "Share of the main confusions between classes that the head holds most alike. Read it "
        f"against chance. {_ERRORS} {_ONE_TREE}",
        HIERARCHY,
        baseline="hierarchy/compliance_direct_chance",
    ),
    MetricSpec(
        "hierarchy/compliance_direct_chance",
        "Errors explained by an edge, chance",
        "share",
        "none",
        "edges of the weights' forest / pairs of classes",
        "ours",
        "The same on average when the classes of the errors are permuted at random.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/compliance_extended",
        "Errors explained by a cluster",
        "share",
        "higher",
        "edges of the errors' forest inside one cluster of the weights / edges of the errors' "
        "forest",
        _PAPER,
        "Share of the main confusions inside one group of classes that the head holds alike. One "
        f"large group explains everything: read it against chance. {_ERRORS} {_ONE_TREE}",
        HIERARCHY,
        baseline="hierarchy/compliance_extended_chance",
    ),
    MetricSpec(
        "hierarchy/compliance_extended_chance",
        "Errors explained by a cluster, chance",
        "share",
        "none",
        "pairs inside one cluster of the weights / pairs of classes",
        "ours",
        "The same on average when the classes of the errors are permuted at random.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/tree_change",
        "Change of the class tree",
        "share",
        "none",
        "1 - edges of both trees / edges of either, this validation and the last analyzed one",
        "ours",
        "0: the head holds the same classes most alike as before. Near 0 late in a training.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/errors",
        "Misclassified images",
        "count",
        "lower",
        "images whose predicted class is not theirs",
        "ours",
        "How many errors of the probe what is said of errors stands on.",
        HIERARCHY,
    ),
)

TEXT_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "hierarchy/soft_depth",
        "Soft depth in the space",
        "ratio",
        "higher",
        "mean cosine of the two classes' texts over the edges of the class tree, scaled from its "
        "mean over all pairs (0) to that over the texts' own tree (1)",
        "ours, after Filus et al. 2025",
        "Similarity Depth with the semantic space for a hierarchy: how near in meaning classes are "
        "that the head holds alike. It is no depth in nodes.",
        HIERARCHY,
    ),
    MetricSpec(
        "hierarchy/soft_agreement",
        "Agreement with the space",
        "1",
        "higher",
        "Spearman over pairs of cos(w_a - mean w, w_b - mean w) and the cosine of the classes' "
        "texts",
        "ours",
        "Whether classes near in meaning are held alike, over all pairs; -1 to 1. With class "
        "prototypes for texts it is about looks.",
        HIERARCHY,
    ),
)
