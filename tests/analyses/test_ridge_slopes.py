from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from sing_monitor.analyses.ridge_slopes import KEYS, analyze_ridge
from sing_monitor.snapshot import Snapshot
from tests.helpers import make_snapshot, observe, scored

RIDGE = 0.01


def ridge_table(snapshot: Snapshot, ridge: float = RIDGE) -> pd.DataFrame:
    return analyze_ridge(observe(snapshot, ridge=ridge)).tables["ridge"].set_index("key")


def scalars(snapshot: Snapshot, ridge: float) -> dict[str, float]:
    return dict(scored(observe(snapshot, ridge=ridge)).scalars)


def test_value_and_slope_are_those_of_analyses_with_neighbouring_ridges() -> None:
    snapshot = make_snapshot(noise=2.0)
    table = ridge_table(snapshot)
    assert tuple(table.index) == KEYS
    below, value, above = (scalars(snapshot, RIDGE * 10**step) for step in (-1e-3, 0, 1e-3))
    for key in KEYS:
        assert table.loc[key, "value"] == pytest.approx(value[key], rel=1e-6, abs=1e-9), key
        slope = (above[key] - below[key]) / 2e-3
        found = table.loc[key, "per_decade"]
        if key == "sing/retention":
            assert math.isnan(found)
        else:
            assert found == pytest.approx(slope, rel=1e-4, abs=1e-7), key
    assert set(table["ridge"]) == {RIDGE}
    assert set(table["n"]) == {60}


@pytest.mark.parametrize(
    ("seed", "ridge", "shape"),
    [
        (2, 0.3, {"samples": 120, "noise": 8.0}),
        (0, 0.03, {"samples": 100, "noise": 3.0, "feature_dim": 80, "embedding_dim": 30}),
        (0, 0.3, {"samples": 100, "noise": 10.0, "feature_dim": 80, "embedding_dim": 30}),
        (1, 0.3, {"samples": 100, "noise": 10.0, "feature_dim": 300, "embedding_dim": 30}),
    ],
)
def test_values_at_the_ends_are_those_of_analyses_with_these_ridges(
    seed: int, ridge: float, shape: dict[str, Any]
) -> None:
    snapshot = make_snapshot(seed=seed, **shape)
    table = ridge_table(snapshot, ridge)
    (low,), (high,) = table["ridge_low"].unique(), table["ridge_high"].unique()
    assert low < high
    ends = [(scalars(snapshot, end), name) for end, name in ((low, "_low"), (high, "_high"))]
    for key in ("sing/image_score", "sing/image_score_centered", "sing/attribute_score"):
        for expected, name in ends:
            # To first order: of the whole way a third may be missed.
            way = abs(expected[key] - table.loc[key, "value"])
            found = table.loc[key, f"value{name}"]
            assert found == pytest.approx(expected[key], abs=way / 3 + 0.1), key


def test_every_ridge_between_the_ends_explains_as_much_but_for_a_standard_error() -> None:
    observation = observe(make_snapshot(samples=120, noise=8.0, seed=2), ridge="auto")
    (row,) = analyze_ridge(observation).tables["ridge"].drop_duplicates("ridge").itertuples()
    assert row.ridge_low < row.ridge < row.ridge_high
    curve = observation.fit.curve
    assert curve is not None
    r2 = {
        rho: scalars(observation.snapshot, rho)["translator/r2"]
        for rho in (row.ridge_low, row.ridge, row.ridge_high)
    }
    for end in (row.ridge_low, row.ridge_high):
        assert r2[row.ridge] - r2[end] == pytest.approx(curve.error, rel=0.05)


def test_a_translator_without_noise_does_not_hang_on_its_ridge() -> None:
    slopes = [
        ridge_table(make_snapshot(samples=400, noise=noise), rho)["per_decade"].abs()
        for noise, rho in ((0.0, 1e-8), (0.0, 0.3))
    ]
    assert slopes[0].max() < 1e-3
    assert slopes[1]["sing/image_score_centered"] > 0.1


def test_of_many_images_some_are_translated_half_from_each_fold() -> None:
    snapshot = make_snapshot(samples=3000)
    table = ridge_table(snapshot)
    assert set(table["n"]) == {128}
    expected = scalars(snapshot, RIDGE)
    for key in ("sing/image_score_centered", "sing/attribute_score"):
        assert table.loc[key, "value"] == pytest.approx(expected[key], rel=0.1)


def test_nothing_is_known_where_a_fold_is_empty() -> None:
    snapshot = replace(make_snapshot(), image_ids=2 * torch.arange(60))
    table = ridge_table(snapshot)
    assert tuple(table.index) == KEYS
    assert table[["ridge", "value", "per_decade"]].isna().all(axis=None)


@pytest.mark.parametrize(("classes", "feature_dim"), [(12, 5), (12, 12), (30, 12)])
def test_without_a_null_space_the_ridge_moves_no_score(classes: int, feature_dim: int) -> None:
    # Of so many images, products round the same rows differently.
    table = ridge_table(make_snapshot(samples=200, classes=classes, feature_dim=feature_dim))
    columns = ["value", "per_decade", "value_low", "value_high"]
    for score in ("attribute_score", "image_score"):
        rows = [f"sing/{score}{suffix}" for suffix in ("", "_centered", "_random")]
        assert (table.loc[rows, columns] == 0).all(axis=None)
    ratios = ["score_ratio", "score_ratio_centered", "image_score_relative", "attribute_share"]
    assert table.loc[[f"sing/{ratio}" for ratio in ratios], columns].isna().all(axis=None)
