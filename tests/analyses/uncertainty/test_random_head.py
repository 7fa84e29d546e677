"""The spread of the relative score is logged, and random heads lie within it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sing_monitor.analyses.invariants import analyze_invariants
from sing_monitor.analyses.uncertainty.random_head import head_spread, relative_spread
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.reduced import ReducedSnapshot, reduced
from tests.helpers import make_snapshot, make_texts, normal, orthogonal, scored_of

RIDGE = 0.01
SPREAD = "sing/image_score_relative_spread"


def observed(snapshot: Snapshot) -> Observation:
    return Observation(snapshot, make_texts(snapshot), ridge=RIDGE)


@pytest.mark.parametrize("classes", [2, 4, 11])
def test_random_heads_lie_within_it(classes: int) -> None:
    snapshot, scores = make_snapshot(samples=120, classes=classes), []
    for seed in range(40):
        weight = normal(classes, 12, seed=100 + seed)
        found = analyze_invariants(observed(replace(snapshot, weight=weight)))
        scores.append(found.scalars["sing/image_score_relative"])
    spread = found.scalars[SPREAD]
    relative = torch.tensor(scores)
    # Of 40 heads the standard deviation is known to 11 %.
    assert float(relative.std()) == pytest.approx(spread, rel=0.35)
    assert float(((relative - 1).abs() < 2 * spread).double().mean()) > 0.8


def test_it_is_0_or_undefined_where_heads_do_not_differ() -> None:
    snapshot = make_snapshot()
    nothing = replace(snapshot, weight=torch.zeros_like(snapshot.weight))
    assert scored_of(nothing, make_texts(snapshot), ridge=RIDGE).scalars[SPREAD] == 0
    square = make_snapshot(classes=12)
    assert math.isnan(scored_of(square, make_texts(square), ridge=RIDGE).scalars[SPREAD])
    one_fold = replace(snapshot, image_ids=2 * torch.arange(len(snapshot)))
    assert math.isnan(relative_spread(observed(one_fold)))


def test_it_hangs_on_the_shape_of_the_head_and_not_on_its_weights() -> None:
    snapshot = make_snapshot()
    spread = relative_spread(observed(snapshot))
    other = replace(snapshot, weight=normal(4, 12, seed=5))
    assert relative_spread(observed(other)) == pytest.approx(spread)
    rotation = orthogonal(12, seed=3)
    turned = replace(
        snapshot, weight=snapshot.weight @ rotation, features=snapshot.features @ rotation
    )
    assert head_spread(observed(turned)) == pytest.approx(head_spread(observed(snapshot)))
    # What the baseline adds is estimated from its draws, which do not turn.
    assert relative_spread(observed(turned)) == pytest.approx(spread, rel=0.02)
    fewer = replace(snapshot, weight=torch.cat([snapshot.weight[:2]] * 2))
    assert relative_spread(observed(fewer)) < spread


def test_in_the_coordinates_of_few_images_it_is_the_same() -> None:
    snapshot = make_snapshot(samples=60, feature_dim=400)
    few = reduced(snapshot)
    assert isinstance(few, ReducedSnapshot)
    # Of 400 features one trace is a mean over random directions.
    whole = relative_spread(observed(snapshot))
    assert relative_spread(observed(few)) == pytest.approx(whole, rel=0.05)
