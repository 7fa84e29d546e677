"""What the random baseline varies by is that of baselines that are drawn anew."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sing_monitor.analyses.uncertainty.random_baseline import baseline_spread, variance_of_mean
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import image_score
from sing_monitor.translate.random_subspaces import chosen_draw, remove_at_random
from tests.helpers import make_snapshot, make_texts, normal


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("counts", [[1] * 40, [40], [10, 20, 10]])
def test_of_planted_scores(shared: float, counts: list[int]) -> None:
    # Scores of an image under a draw: one part of every draw, one of its own, each of variance 1.
    images, draws = 60, 4000
    scores = shared * normal(draws, seed=1) + normal(images, draws, seed=2)
    every = torch.zeros(256).long()
    every[: len(counts)] = torch.tensor(counts)
    found = variance_of_mean(scores, normal(draws, seed=3), every)
    expected = 1 / 40 + shared**2 * sum((count / 40) ** 2 for count in counts)
    assert found == pytest.approx(expected, rel=0.1)


def test_shares_that_are_evenly_seen_add_nothing() -> None:
    shares = normal(400, seed=1)
    scores = shares + 0.01 * normal(50, 400, seed=2)
    evenly = torch.full((256,), 4)
    assert variance_of_mean(scores, shares, evenly) < 1e-4
    assert variance_of_mean(scores, normal(400, seed=3), evenly) == pytest.approx(1 / 256, rel=0.2)


@pytest.mark.parametrize("are_paired", [False, True])
@pytest.mark.parametrize(("samples", "dim"), [(40, 12), (300, 12), (60, 100)])
def test_it_is_that_of_other_draws(samples: int, dim: int, are_paired: bool) -> None:
    snapshot = make_snapshot(samples=samples, feature_dim=dim)
    generator = torch.Generator().manual_seed(0)

    def anew() -> Tensor:
        # The lowest bit stays: it chooses the fold.
        ids = torch.randint(2**40, (samples,), generator=generator)
        return 2 * (ids[: samples // 2].repeat(2) if are_paired else ids) + snapshot.folds

    snapshot = replace(snapshot, image_ids=anew())
    # Features are drawn with seed 0 here, which must not be that of the subspaces.
    observation = Observation(snapshot, make_texts(snapshot), ridge=0.01, seed=4)
    original, center = observation.translated.original, observation.center
    scores = []
    for seed in range(100):
        draws, rank = chosen_draw(anew()), observation.geometry.rank
        removal = remove_at_random(snapshot.features, center, rank, draws, seed=seed + 5)
        moved = removal.translated(observation.fit, original, center)[:]
        scores.append(float(image_score(original, moved).mean()))
    drawn = torch.tensor(scores)
    expected = float(drawn.std() / drawn.mean())
    assert baseline_spread(observation) == pytest.approx(expected, rel=0.25)


def test_without_chance_it_is_0_and_without_movement_undefined() -> None:
    snapshot = make_snapshot()
    nothing = replace(snapshot, weight=torch.zeros_like(snapshot.weight))
    assert baseline_spread(Observation(nothing, make_texts(nothing), 0.01)) == pytest.approx(0)
    square = make_snapshot(classes=12)
    assert math.isnan(baseline_spread(Observation(square, make_texts(square), 0.01)))
    one_fold = replace(snapshot, image_ids=2 * torch.arange(len(snapshot)))
    assert math.isnan(baseline_spread(Observation(one_fold, make_texts(one_fold), 0.01)))
