from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sing_monitor.analyses.intervals import analyze_intervals, headline, image_columns
from sing_monitor.observation import Observation
from sing_monitor.scores.pairs import CENTERED, RANDOM
from sing_monitor.snapshot import Snapshot
from tests.helpers import make_snapshot, observe, scored


def observed(snapshot: Snapshot) -> Observation:
    return observe(snapshot, ridge=0.01)


def intervals(observation: Observation) -> pd.DataFrame:
    return analyze_intervals(observation).tables["intervals"].set_index("key")


@pytest.fixture(scope="module")
def big() -> Observation:
    return observed(make_snapshot(samples=800, noise=3.0))


def test_the_intervals_are_about_the_scalars_themselves(big: Observation) -> None:
    scalars = scored(big).scalars
    means = {name: values.mean() for name, values in image_columns(big).items()}
    found = {key: float(value) for key, value in headline(means, big).items()}
    noise = ["attribute/colour_retention", "attribute/colour_retention_seen"]
    assert all(math.isfinite(found.pop(key)) and math.isnan(scalars[key]) for key in noise)
    assert found == pytest.approx({key: scalars[key] for key in found}, rel=1e-9, abs=1e-12)
    probed = ["probe/class_hidden", "attribute/colour_probe_hidden"]
    table = intervals(big)["value"].drop([*noise, *probed])
    assert table.to_dict() == {key: scalars[key] for key in found}
    assert {"sing/class_hidden", "sing/retention_seen", "sing/zero_shot_seen"} <= {*found}
    assert {"attribute/colour_hidden", "attribute/colour_zero_shot_seen"} <= {*found}
    assert {"sing/retention", "sing/image_score_relative", "attribute/colour_score"} <= {*found}


def test_every_interval_holds_its_value_and_says_on_what_it_stands(big: Observation) -> None:
    table = intervals(big).dropna()
    assert len(table) > 15
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    assert set(table["n"]) == {800}
    assert set(table["level"]) == {0.95}


def test_the_interval_of_a_mean_is_two_standard_errors_wide(big: Observation) -> None:
    images, labels = big.scores[CENTERED].image, big.snapshot.labels
    variance = sum(
        (labels == c).double().mean() ** 2 * images[labels == c].var() / (labels == c).sum()
        for c in range(4)
    )
    row = intervals(big).loc["sing/image_score_centered"]
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * float(variance) ** 0.5, rel=0.1)


def test_the_interval_of_a_ratio_is_that_of_images_drawn_anew(big: Observation) -> None:
    centered = big.scores[CENTERED].image.numpy()
    random = big.scores[RANDOM].image.numpy()
    rng = np.random.default_rng(0)
    classes = [np.flatnonzero(big.snapshot.labels == c) for c in range(4)]
    ratios = []
    for _ in range(1000):
        rows = np.concatenate([rng.choice(own, len(own)) for own in classes])
        ratios.append(centered[rows].mean() / random[rows].mean())
    low, high = np.quantile(ratios, [0.025, 0.975])
    row = intervals(big).loc["sing/image_score_relative"]
    assert row["low"] == pytest.approx(low, abs=0.15 * (high - low))
    assert row["high"] == pytest.approx(high, abs=0.15 * (high - low))


def test_four_times_the_images_halve_the_interval(big: Observation) -> None:
    few = observed(make_snapshot(samples=200, noise=3.0))
    widths = [
        row["high"] - row["low"]
        for row in (intervals(each).loc["sing/image_score_centered"] for each in (few, big))
    ]
    assert 1.4 < widths[0] / widths[1] < 2.8


def test_the_same_probe_gives_the_same_intervals(big: Observation) -> None:
    pd.testing.assert_frame_equal(intervals(big), intervals(big))


def test_without_a_null_space_scores_are_zero_and_certain() -> None:
    table = intervals(observed(make_snapshot(classes=12, feature_dim=5)))
    for key in ("sing/attribute_score", "sing/image_score_centered"):
        assert table.loc[key, ["value", "low", "high"]].tolist() == [0, 0, 0]
    assert table.loc["sing/score_ratio", ["value", "low", "high"]].isna().all()


def test_an_undefined_scalar_has_no_interval() -> None:
    snapshot = make_snapshot()
    one_fold = replace(snapshot, image_ids=2 * torch.arange(60))
    table = intervals(observed(one_fold))
    assert table[["value", "low", "high"]].isna().all(axis=None)
    # At chance there is nothing to retain, though the ratio of the replicates is a number.
    at_chance = intervals(observed(snapshot)).loc["attribute/colour_retention"]
    assert at_chance[["value", "low", "high"]].isna().all()
