from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sing_monitor.analyses.translator import SATURATED, SATURATION, analyze_translator
from tests.helpers import make_snapshot, normal, observe


def saturation(ridge: float | str = "auto", **shape: float) -> float:
    return analyze_translator(observe(make_snapshot(**shape), ridge=ridge)).scalars[SATURATION]


def test_it_rises_with_the_number_of_images() -> None:
    found = [saturation(samples=n, noise=4.0) for n in (60, 240, 960)]
    assert found == sorted(found)
    assert found[0] < SATURATED


def test_an_exact_map_of_few_features_is_saturated() -> None:
    assert saturation(1e-6, samples=200, noise=0.0) == pytest.approx(1, abs=1e-6)


def test_noise_beside_an_exact_map_is_learnt_as_fast_as_theory_says() -> None:
    """Without a penalty, m features cost ``m / (N - m - 1)`` of the noise of N images."""
    samples, m, noise = 800, 30, 20.0
    snapshot = make_snapshot(samples=samples, feature_dim=m, embedding_dim=50, noise=noise)
    found = analyze_translator(observe(snapshot, ridge=1e-9)).scalars
    total = float(snapshot.embeddings.var(dim=0).sum())
    lost = noise**2 * 50 / total * (m / (200 - m - 1) - m / (400 - m - 1))
    assert lost / found["translator/r2"] > 0.05
    expected = 1 - lost / found["translator/r2"]
    assert found[SATURATION] == pytest.approx(expected, abs=0.3 * (1 - expected))


def test_it_is_unknown_where_nothing_is_explained_or_a_fold_is_small() -> None:
    snapshot = make_snapshot(samples=60)
    noise = replace(snapshot, embeddings=normal(60, 8, seed=9))
    found = analyze_translator(observe(noise, ridge=1e-9)).scalars
    assert found["translator/r2"] < 0
    assert math.isnan(found[SATURATION])
    for ids in (2 * torch.arange(60), torch.tensor([1, 1, *[2] * 58])):
        few = replace(snapshot, image_ids=ids)
        assert math.isnan(analyze_translator(observe(few, ridge=0.1)).scalars[SATURATION])
