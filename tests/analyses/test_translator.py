from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sing_monitor.analyses.parts.meaning import analyze_meaning
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


def planted(samples: int, noise: float, ridge: float | str, seed: int) -> dict[str, float]:
    """Twelve causes in 64 features of which the head reads 8, and in the embeddings."""
    causes = normal(samples, 12, seed=seed) / math.sqrt(12)
    snapshot = replace(
        make_snapshot(samples=samples, classes=8, feature_dim=64, embedding_dim=24, seed=seed),
        features=causes @ normal(12, 64, seed=90) + noise * normal(samples, 64, seed=seed + 1),
        embeddings=causes @ normal(12, 24, seed=91) + noise * normal(samples, 24, seed=seed + 2),
        weight=normal(8, 64, seed=92),
        bias=None,
    )
    observation = observe(snapshot, ridge=ridge)
    return {**analyze_translator(observation).scalars, **analyze_meaning(observation).scalars}


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("ridge", ["auto", 1e-6, 1e-3])
@pytest.mark.parametrize("per_feature", [0.25, 0.5, 1, 2, 4])
def test_shares_are_shares_or_unknown_however_few_images_there_are(
    per_feature: float, ridge: float | str, noise: float
) -> None:
    found = [planted(int(64 * per_feature), noise, ridge, seed) for seed in (0, 10, 20)]
    for scalars in found:
        parts = [scalars[f"meaning/{name}"] for name in ("unique_seen", "unique_null", "shared")]
        assert len({math.isnan(each) for each in parts}) == 1
        assert all(math.isnan(each) or -0.05 <= each <= 1.05 for each in parts[:2])
        assert math.isnan(parts[2]) or abs(parts[2]) <= 1.1
        r2s = [scalars[f"translator/r2{part}"] for part in ("", "_seen", "_null")]
        if min(r2s) < -0.05:
            assert math.isnan(parts[0])
        if scalars["translator/r2"] <= 0:
            assert math.isnan(scalars[SATURATION])
        assert math.isnan(scalars[SATURATION]) or scalars[SATURATION] >= 0
        if scalars[SATURATION] > 1.2 and scalars["translator/r2"] > 0.25:
            assert math.isnan(parts[0])


def test_with_the_best_ridge_the_split_is_that_of_many_images_or_the_saturation_says_no() -> None:
    truth = planted(6400, 0.3, "auto", 0)
    assert truth[SATURATION] > 0.99
    for samples, is_known in ((16, False), (32, False), (128, True), (256, True)):
        for seed in (0, 10, 20, 30):
            found = planted(samples, 0.3, "auto", seed)
            assert (found[SATURATION] > SATURATED) == is_known
            for name in ("unique_seen", "unique_null", "shared"):
                key = f"meaning/{name}"
                if is_known:
                    assert found[key] == pytest.approx(truth[key], abs=0.12), key
