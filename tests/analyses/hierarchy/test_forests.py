from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sing_monitor.analyses.hierarchy import class_forest, similarity_depth
from sing_monitor.analyses.hierarchy.depth import by_chance
from sing_monitor.analyses.hierarchy.forests import strongest_tree
from tests.helpers import normal


def resemblance(classes: int, seed: int) -> np.ndarray:
    """Cosines of random templates."""
    templates = torch.nn.functional.normalize(normal(classes, 8, seed=seed), dim=1)
    return (templates @ templates.T).numpy()


def blocks(sizes: list[int], inside: float = 0.9) -> np.ndarray:
    """Groups that resemble each other inside and, a little, outside."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 0.01, (len(groups), len(groups)))
    return np.where(groups[:, None] == groups, inside, 0.1) + (noise + noise.T) / 2


def kruskal(weights: np.ndarray) -> list[list[int]]:
    """The maximum spanning tree word for word, of equals the first pair."""
    classes = len(weights)
    pairs = [(a, b) for a in range(classes) for b in range(a + 1, classes) if weights[a, b] > 0]
    group = list(range(classes))
    edges = []
    for a, b in sorted(pairs, key=lambda pair: -weights[pair]):
        if group[a] != group[b]:
            edges.append([a, b])
            group = [group[a] if each == group[b] else each for each in group]
    return sorted(edges)


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_the_tree_is_kruskal_s_also_where_weights_are_equal(seed: int, n: int, most: int) -> None:
    weights = np.random.default_rng(seed).integers(0, most, (n, n)) / most
    weights = np.triu(weights, 1) + np.triu(weights, 1).T
    assert strongest_tree(weights).tolist() == kruskal(weights)


@pytest.mark.parametrize("clustering", ["none", "affinity"])
def test_the_forest_has_an_edge_less_than_classes_for_each_cluster(clustering: str) -> None:
    forest = class_forest(resemblance(40, seed=1), clustering)
    assert forest.converged
    assert len(forest.edges) == 40 - forest.clusters
    assert forest.edges.dtype == forest.labels.dtype == torch.int64
    assert (forest.edges[:, 0] < forest.edges[:, 1]).all()
    assert sorted(forest.labels.unique().tolist()) == list(range(forest.clusters))
    ends = forest.labels[forest.edges]
    assert torch.equal(ends[:, 0], ends[:, 1])


@pytest.mark.parametrize("clustering", ["none", "affinity"])
def test_the_order_of_the_classes_changes_nothing(clustering: str) -> None:
    similarity, order = resemblance(30, seed=2), np.random.default_rng(3).permutation(30)
    one = class_forest(similarity, clustering)
    other = class_forest(similarity[np.ix_(order, order)], clustering)
    renamed = {tuple(sorted(order[edge].tolist())) for edge in other.edges.numpy()}
    assert renamed == set(map(tuple, one.edges.tolist()))


@pytest.mark.parametrize("clustering", ["none", "affinity"])
def test_a_scale_and_an_offset_change_nothing(clustering: str) -> None:
    similarity = resemblance(30, seed=2)
    one, other = (class_forest(each, clustering) for each in (similarity, 7 * similarity - 3))
    assert torch.equal(one.edges, other.edges)
    assert torch.equal(one.labels, other.labels)


def test_planted_clusters_are_found() -> None:
    labels = class_forest(blocks([4, 6, 5]), "affinity").labels.tolist()
    assert [len(set(part)) for part in (labels[:4], labels[4:10], labels[10:])] == [1, 1, 1]
    assert len(set(labels)) == 3


def test_the_least_similar_pair_is_no_edge() -> None:
    # After scaling its weight is 0, so that class 2 is joined to nothing but by class 1.
    assert class_forest([[1, 0.5], [0.5, 1]]).edges.shape == (0, 2)
    assert class_forest([[1, 0.5], [0.5, 1]], scale=False).edges.tolist() == [[0, 1]]


def test_pairs_that_are_not_known_are_no_edges() -> None:
    similarity = resemblance(6, seed=4)
    similarity[5, :] = similarity[:, 5] = math.nan
    for clustering in ("none", "affinity"):
        forest = class_forest(similarity, clustering)
        assert 5 not in forest.edges.flatten().tolist()


def test_without_any_resemblance_every_class_stands_alone() -> None:
    forest = class_forest(np.eye(5), "affinity")
    assert forest.edges.shape == (0, 2)
    assert forest.clusters == 5
    assert math.isnan(similarity_depth(forest.edges, np.ones((5, 5))))


def test_one_class_is_a_forest_without_edges() -> None:
    for clustering in ("none", "affinity"):
        forest = class_forest([[1.0]], clustering)
        assert forest.edges.shape == (0, 2)
        assert forest.labels.tolist() == [0]


def test_clusters_that_do_not_converge_are_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sing_monitor.analyses.hierarchy.forests._ITERATIONS", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forest = class_forest(resemblance(40, seed=1), "affinity")
    assert not forest.converged
    assert forest.clusters == 0
    assert forest.labels.tolist() == [-1] * 40
    assert forest.edges.shape == (0, 2)


def test_what_swings_between_two_answers_is_damped_more() -> None:
    # A few errors among many classes: most pairs are equal, and damping of 0.5 does not do.
    rng = np.random.default_rng(7)
    counts = np.diag(np.full(100, 4.0))
    for a, b in rng.integers(0, 100, (300, 2)):
        counts[a, b] += 1
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert class_forest((shares + shares.T) / 2, "affinity", scale=False).converged


@pytest.mark.parametrize(
    ("similarity", "message"),
    [
        (np.ones((2, 3)), r"a row and a column for each class, \(C, C\); got \(2, 3\)"),
        (np.ones((0, 0)), "got .0, 0."),
        ([[1, 2], [0, 1]], "must be symmetric"),
        ([[1, math.inf], [math.inf, 1]], "infinite"),
        ([["a", "b"], ["c", "d"]], "matrix of numbers"),
    ],
)
def test_other_matrices_are_refused(similarity: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_forest(similarity)


def test_another_clustering_and_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="'none', 'affinity'; got 'louvain'"):
        class_forest(np.eye(3), "louvain")
    with pytest.raises(ValueError, match="holds -1"):
        class_forest([[1, -1], [-1, 1]], scale=False)


def test_depth_is_the_mean_over_edges() -> None:
    depth = [[4, 3, 2, 1], [3, 4, 2, 1], [2, 2, 4, 1], [1, 1, 1, 4]]
    assert similarity_depth(torch.tensor([[0, 1], [1, 2], [2, 3]]), depth) == 2
    assert math.isnan(similarity_depth(torch.empty(0, 2, dtype=torch.int64), depth))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([[0, 2]], "0 to 2, but there are 2"),
        ([[0.0, 1.0]], "whole numbers"),
        ([[0, 1, 1]], r"got \(1, 3\)"),
    ],
)
def test_edges_of_other_classes_are_refused(edges: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        similarity_depth(torch.tensor(edges), np.ones((2, 2)))


def test_chance_is_the_mean_over_permutations() -> None:
    depth = np.random.default_rng(0).integers(1, 9, (12, 12))
    depth = depth + depth.T
    edges = class_forest(resemblance(12, seed=5)).edges
    rng = np.random.default_rng(1)
    permuted = [
        similarity_depth(edges, depth[np.ix_(order, order)])
        for order in (rng.permutation(12) for _ in range(4000))
    ]
    # Four standard errors of the mean.
    error = float(np.std(permuted)) / math.sqrt(len(permuted))
    assert by_chance(depth.astype(float)) == pytest.approx(float(np.mean(permuted)), abs=4 * error)
