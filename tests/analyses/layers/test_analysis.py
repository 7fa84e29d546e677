from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sing_monitor.analyses import analyze
from sing_monitor.analyses.layers import effective_rank, pca_dimension
from sing_monitor.analyses.layers.analysis import ANALYSIS, analyze_layers
from sing_monitor.analyses.layers.specs import MOST_IMAGES
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from tests.helpers import generator, make_snapshot, normal, orthogonal, reorder

KEYS = {spec.key for spec in ANALYSIS.metrics}


def ranks(snapshot: Snapshot) -> dict[str, float]:
    scalars = analyze_layers(Observation(snapshot)).scalars
    assert scalars.keys() == KEYS
    return {key.partition("/")[2]: value for key, value in scalars.items()}


def test_numbers_are_those_of_the_functions() -> None:
    snapshot = make_snapshot()
    found = ranks(snapshot)
    assert found["effective_rank"] == pytest.approx(effective_rank(snapshot.features))
    assert found["pca_95"] == pca_dimension(snapshot.features)
    for name in ("effective_rank", "pca_95", "classification_dimension"):
        assert found[f"{name}_share"] == found[name] / 12


def known_to_one_direction() -> Snapshot:
    """Two classes told apart by the third largest of 12 directions alone."""
    snapshot = make_snapshot(samples=80, classes=2)
    features = normal(80, 12, seed=1) * 0.01
    features -= features.mean(dim=0)
    features[:, 0] = 9 * torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(20)
    features[:, 1] = 5 * torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0]).repeat(10)
    features[:, 2] = torch.tensor([1.0, -1.0]).repeat(40)
    weight = torch.zeros(2, 12, dtype=torch.float64)
    weight[0, 2], weight[1, 2] = 1, -1
    bias = torch.zeros(2, dtype=torch.float64)
    return replace(snapshot, features=features, weight=weight, bias=bias)


def test_a_head_needs_the_components_up_to_the_one_it_reads() -> None:
    snapshot = known_to_one_direction()
    assert ranks(snapshot)["classification_dimension"] == 3
    turn = orthogonal(12, seed=2)
    weight, features = snapshot.weight @ turn, snapshot.features @ turn + 5
    turned = replace(snapshot, features=features, weight=weight, bias=-5 * weight.sum(dim=1))
    assert ranks(turned)["classification_dimension"] == 3


def test_without_accuracy_nothing_is_kept() -> None:
    snapshot = known_to_one_direction()
    wrong = replace(snapshot, labels=1 - snapshot.labels)
    assert math.isnan(ranks(wrong)["classification_dimension"])
    assert math.isnan(ranks(wrong)["classification_dimension_share"])


def test_a_head_that_always_answers_the_same_needs_nothing() -> None:
    snapshot = replace(make_snapshot(), weight=torch.zeros(4, 12, dtype=torch.float64))
    assert ranks(snapshot)["classification_dimension"] == 0


def test_features_that_do_not_vary() -> None:
    snapshot = make_snapshot()
    found = ranks(replace(snapshot, features=torch.full_like(snapshot.features, 0.3)))
    assert all(math.isnan(value) for value in found.values())


def test_at_most_so_many_images_whatever_their_order() -> None:
    snapshot = make_snapshot(samples=MOST_IMAGES + 300)
    shuffled = reorder(snapshot, torch.randperm(len(snapshot), generator=generator(4)))
    assert ranks(shuffled) == pytest.approx(ranks(snapshot))
    kept = snapshot.image_ids.sort().indices[:MOST_IMAGES]
    assert ranks(reorder(snapshot, kept)) == pytest.approx(ranks(snapshot))
    assert ranks(snapshot) != pytest.approx(ranks(reorder(snapshot, kept[:-100])))


def test_coordinates_give_the_same() -> None:
    snapshot = make_snapshot(samples=40, feature_dim=400)
    found = analyze(replace(snapshot, embeddings=None), None).scalars
    expected = ranks(snapshot)
    assert {key: found[f"layers/{key}"] for key in expected} == pytest.approx(expected)
    # At most 40 directions, not 400.
    assert expected["effective_rank_share"] == expected["effective_rank"] / 40


def test_a_class_may_be_taken_out_by_its_bias() -> None:
    snapshot = make_snapshot()
    bias = snapshot.bias.index_fill(0, torch.tensor(2), -math.inf)
    assert math.isfinite(ranks(replace(snapshot, bias=bias))["classification_dimension"])
