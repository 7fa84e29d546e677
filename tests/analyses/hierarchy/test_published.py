"""Known numbers: a ViT-B on mini-ImageNet, from the matrices of the paper's repository.

The results beside the matrices are those of an implementation that is not ours.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sing_monitor.analyses.hierarchy import (
    Forest,
    class_forest,
    compliance,
    confusion_similarity,
    similarity_depth,
)
from sing_monitor.analyses.hierarchy.ancestors import common_ancestors
from sing_monitor.analyses.hierarchy.reference import find_reference
from sing_monitor.analyses.hierarchy.wordnet import wordnet

with np.load(Path(__file__).parents[2] / "data" / "depth_reference.npz") as _file:
    GOLDEN: dict[str, Any] = {name: _file[name] for name in _file.files}
MATRICES = {
    "weights": GOLDEN["similarity"],
    "weights_init": GOLDEN["similarity_init"],
    "confusion": confusion_similarity(GOLDEN["confusion"]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_one_tree_is_that_of_the_paper(name: str) -> None:
    forest = class_forest(MATRICES[name], scale=name != "confusion")
    expected = np.sort(GOLDEN[f"{name}.one.edges"], axis=1).tolist()
    assert sorted(forest.edges.tolist()) == sorted(expected)
    assert forest.labels.tolist() == GOLDEN[f"{name}.one.labels"].tolist()
    found = similarity_depth(forest.edges, GOLDEN["lcs_depth"])
    assert found == pytest.approx(float(GOLDEN[f"{name}.one"]), abs=1e-9)


@pytest.mark.parametrize("scale", [True, False])
def test_confusions_may_be_scaled_as_they_are_by_default(scale: bool) -> None:
    forest = class_forest(MATRICES["confusion"], scale=scale)
    found = similarity_depth(forest.edges, GOLDEN["lcs_depth"])
    assert found == pytest.approx(float(GOLDEN["confusion.one"]), abs=1e-9)


@pytest.mark.parametrize("name", MATRICES)
def test_clusters_are_those_of_the_paper(name: str) -> None:
    # Affinity propagation depends a little on scikit-learn's version.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forest = class_forest(MATRICES[name], "affinity", scale=name != "confusion")
    expected = len(np.unique(GOLDEN[f"{name}.affinity.labels"]))
    assert forest.clusters == pytest.approx(expected, abs=1)
    found = similarity_depth(forest.edges, GOLDEN["lcs_depth"])
    assert found == pytest.approx(float(GOLDEN[f"{name}.affinity"]), abs=0.05)


def test_compliance_is_that_of_the_paper() -> None:
    found = compliance(
        class_forest(MATRICES["weights"], "affinity"),
        class_forest(MATRICES["confusion"], "affinity", scale=False),
    )
    for name, short in (("direct", "direct"), ("extended", "ext")):
        for side in ("explained", "causing"):
            expected = float(GOLDEN[f"sgc.{short}_{side}"])
            assert getattr(found, f"{name}_{side}") == pytest.approx(expected, abs=0.03)


def test_compliance_of_the_forests_of_the_paper_is_exactly_theirs() -> None:
    # As they are stored: arrays, with the classes of an edge in either order.
    weights, errors = (
        Forest(GOLDEN[f"{name}.affinity.edges"], GOLDEN[f"{name}.affinity.labels"])
        for name in ("weights", "confusion")
    )
    turned = Forest(errors.edges.flip(1), errors.labels)
    for found in (compliance(weights, errors), compliance(weights, turned)):
        for name, short in (("direct", "direct"), ("extended", "ext")):
            for side in ("explained", "causing"):
                expected = float(GOLDEN[f"sgc.{short}_{side}"])
                assert getattr(found, f"{name}_{side}") == pytest.approx(expected, abs=1e-12)


def test_shipped_hypernyms_give_the_depths_and_ways_of_wordnet() -> None:
    found = common_ancestors(GOLDEN["wnids"].tolist(), wordnet().parents, wordnet().names)
    assert np.array_equal(found.depth, GOLDEN["lcs_depth"])
    np.testing.assert_allclose(found.path_similarity, GOLDEN["path_similarity"], atol=1e-12)


def test_the_reference_of_imagenet_classes_is_found_by_id_and_by_name() -> None:
    ids = GOLDEN["wnids"].tolist()
    names = [wordnet().names[each] for each in ids]
    for classes in (ids, names):
        reference = find_reference(classes, None)
        assert reference is not None
        assert reference.source == "wordnet"
        assert np.array_equal(reference.common.depth, GOLDEN["lcs_depth"])


def test_the_reference_s_own_tree_is_deeper_than_any_network_s() -> None:
    reference = find_reference(GOLDEN["wnids"].tolist(), None)
    assert reference is not None
    # The paper's code breaks ties among equally near classes at random: 8.52.
    assert reference.best == pytest.approx(8.52, abs=0.02)
    pairs = np.triu_indices(100, 1)
    assert reference.chance == pytest.approx(GOLDEN["lcs_depth"][pairs].mean())
    assert reference.chance < float(GOLDEN["weights_init.one"]) < float(GOLDEN["weights.one"])
    assert float(GOLDEN["weights.one"]) < reference.best
