from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sing_monitor.analyses.perturbation import (
    DRAWS,
    PERTURBATION_METRICS,
    analyze_perturbations,
)
from sing_monitor.scores.angles import angle
from sing_monitor.snapshot import Snapshot
from tests.helpers import make_snapshot, normal, observe


def scalars(snapshot: Snapshot, seed: int = 0) -> dict[str, float]:
    found = analyze_perturbations(observe(snapshot, ridge=0.01, seed=seed))
    assert not found.tables
    assert set(found.scalars) == {spec.key for spec in PERTURBATION_METRICS}
    return {key.partition("/")[2]: value for key, value in found.scalars.items()}


def test_only_null_perturbations_leave_the_logits() -> None:
    found = scalars(make_snapshot())
    assert found["logits_ratio"] < 1e-13
    assert found["logits_principal"] > found["logits_random"] > 1
    assert min(found[f"image_score_{name}"] for name in ("null", "random", "principal")) > 1


def test_against_logits_and_angles_of_perturbed_features() -> None:
    """The short cuts, a linear head and one product a fold, against the definition."""
    snapshot = make_snapshot()
    observation = observe(snapshot, ridge=0.01)
    draws = torch.randn(DRAWS, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    features, geometry = snapshot.features, observation.geometry
    size = (features - features.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    found = scalars(snapshot, seed=3)

    def logits(each: Tensor) -> Tensor:
        return each @ snapshot.weight.T

    assert observation.fit.translators is not None
    for name, parts in (
        ("null", geometry.null(draws)),
        ("random", draws),
        ("principal", geometry.principal(draws)),
    ):
        steps = size * torch.nn.functional.normalize(parts, dim=1)
        changes, scores = [], []
        for step in steps:
            changes.append((logits(features + step) - logits(features)).norm(dim=1))
            moved = torch.empty_like(observation.translated.original)
            for fold, translator in enumerate(observation.fit.translators):
                rows = snapshot.folds == fold
                moved[rows] = translator(features[rows] + step)
            scores.append(angle(observation.translated.original, moved))
        assert found[f"logits_{name}"] == pytest.approx(
            float(torch.stack(changes).mean()), abs=1e-12
        )
        assert found[f"image_score_{name}"] == pytest.approx(float(torch.stack(scores).mean()))


def test_under_the_softmax_a_shift_of_all_logits_is_no_change() -> None:
    found = scalars(replace(make_snapshot(), invariance="softmax"))
    assert found["logits_ratio"] < 1e-13


def test_a_rank_that_is_too_low_fails_the_check() -> None:
    """A direction below the noise of half precision is called null, and the logits tell."""
    weight = (
        torch.diag(torch.tensor([1.0, 1.0, 1.0, 2e-3])) @ make_snapshot().weight[:, :12].float()
    )
    snapshot = replace(make_snapshot(), weight=weight.to(torch.bfloat16))
    assert snapshot.geometry.rank == 3
    assert 1e-6 < scalars(snapshot)["logits_ratio"] < 1e-2


def test_without_a_null_space_null_perturbations_are_undefined() -> None:
    snapshot = make_snapshot(classes=15)
    assert snapshot.geometry.null_dim == 0
    found = scalars(snapshot)
    for name in ("logits_null", "logits_ratio", "image_score_null"):
        assert math.isnan(found[name])
    assert found["logits_random"] == pytest.approx(found["logits_principal"])


@pytest.mark.parametrize(
    "features", [normal(60, 12, seed=0), torch.full((60, 12), 1e3 / 3, dtype=torch.float64)]
)
def test_a_head_of_zeros_and_features_that_do_not_vary(features: Tensor) -> None:
    snapshot = replace(make_snapshot(), features=features, weight=torch.zeros(4, 12))
    found = scalars(snapshot)
    assert math.isnan(found["logits_ratio"])
    assert math.isnan(found["logits_principal"])
    is_constant = bool((features == features[0]).all())
    assert math.isnan(found["image_score_random"]) == is_constant


def test_the_draws_follow_the_seed_and_leave_the_generator_alone() -> None:
    snapshot, state = make_snapshot(), torch.get_rng_state()
    assert scalars(snapshot, seed=1) == scalars(snapshot, seed=1) != scalars(snapshot, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
