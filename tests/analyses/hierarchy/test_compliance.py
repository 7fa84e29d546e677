from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sing_monitor.analyses.hierarchy import Forest, compliance, confusion_similarity
from sing_monitor.analyses.hierarchy.confusions import confusion_counts, errors_of


def forest(edges: list[list[int]], labels: list[int]) -> Forest:
    return Forest(torch.tensor(edges, dtype=torch.int64).reshape(-1, 2), torch.tensor(labels))


CHAIN = forest([[0, 1], [1, 2], [3, 4]], [0, 0, 0, 1, 1])
FAR = forest([[0, 3], [1, 4]], [0, 1, 2, 0, 1])


def test_the_same_edges_explain_everything() -> None:
    found = compliance(CHAIN, CHAIN)
    assert found.direct_explained == found.direct_causing == 1
    assert found.extended_explained == found.extended_causing == 1


def test_other_edges_explain_nothing() -> None:
    found = compliance(CHAIN, FAR)
    assert found.direct_explained == found.direct_causing == 0
    assert found.extended_explained == found.extended_causing == 0


def test_shares_are_of_either_forest() -> None:
    found = compliance(CHAIN, forest([[0, 1], [0, 2]], [0, 0, 0, 1, 2]))
    assert found.direct_explained == 1 / 2
    assert found.direct_causing == 1 / 3
    assert found.extended_explained == 1
    assert found.extended_causing == 2 / 3
    assert found.direct_chance == 3 / 10
    assert found.extended_chance == 4 / 10


def test_without_edges_shares_are_undefined() -> None:
    none = forest([], [0, 1, 2, 3, 4])
    assert math.isnan(compliance(CHAIN, none).direct_explained)
    assert math.isnan(compliance(CHAIN, none).direct_chance)
    assert math.isnan(compliance(none, CHAIN).direct_causing)
    assert compliance(none, CHAIN).direct_explained == 0


def test_clusters_that_did_not_converge_tell_nothing() -> None:
    lost = forest([], [-1] * 5)
    for found in (compliance(lost, CHAIN), compliance(CHAIN, lost)):
        assert all(math.isnan(value) for value in vars(found).values())


def test_forests_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="5 classes, that of the errors 2"):
        compliance(CHAIN, forest([[0, 1]], [0, 0]))


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_extended_shares_are_never_below_direct_ones(seed: int) -> None:
    from sing_monitor.analyses.hierarchy import class_forest

    rng = np.random.default_rng(seed)
    first, second = (
        class_forest((each + each.T) / 2, "affinity") for each in rng.random((2, 12, 12))
    )
    found = compliance(first, second)
    assert not found.extended_explained < found.direct_explained
    assert not found.extended_causing < found.direct_causing


def test_chance_is_the_mean_over_permutations() -> None:
    weights, errors = CHAIN, forest([[0, 1], [0, 2], [2, 4]], [0, 0, 0, 1, 0])
    rng = np.random.default_rng(0)
    direct, extended = [], []
    for _ in range(4000):
        order = torch.from_numpy(rng.permutation(5))
        edges = order[errors.edges].sort(dim=1).values
        found = compliance(weights, Forest(edges, errors.labels))
        direct.append(found.direct_explained)
        extended.append(found.extended_explained)
    for values, chance in ((direct, found.direct_chance), (extended, found.extended_chance)):
        error = float(np.std(values)) / math.sqrt(len(values))
        assert float(np.mean(values)) == pytest.approx(chance, abs=4 * error)


def test_confusions_are_shares_of_the_images_of_a_class() -> None:
    found = confusion_similarity([[8, 2, 0], [1, 3, 0], [0, 0, 5]])
    expected = [[1, (0.2 + 0.25) / 2, 0], [(0.2 + 0.25) / 2, 1, 0], [0, 0, 1]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_the_number_of_images_of_a_class_does_not_matter() -> None:
    counts = np.array([[8, 2, 0], [1, 3, 0], [1, 1, 5]])
    found = confusion_similarity(counts * [[1], [10], [3]])
    torch.testing.assert_close(found, confusion_similarity(counts))


def test_a_class_without_images_is_not_known_to_be_told_apart() -> None:
    found = confusion_similarity([[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert found[0, 2] == 0
    assert math.isnan(found[2, 3])
    assert found.diagonal().tolist() == [1, 1, 1, 1]
    assert torch.equal(found.nan_to_num(), found.T.nan_to_num())


@pytest.mark.parametrize(
    ("counts", "message"), [([[1, -1], [0, 1]], "0 or more"), ([[1, 2]], r"\(C, C\); got \(1, 2\)")]
)
def test_other_counts_are_refused(counts: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_similarity(counts)


def test_counts_and_errors_of_predictions() -> None:
    counts = confusion_counts(torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 1, 1, 3]), 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 1], [0] * 4, [0] * 4]
    np.testing.assert_allclose(errors_of(counts), [1 / 2, 1 / 3, math.nan, math.nan])
