from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import Tensor

from sing_monitor.analyses.intervals import analyze_intervals, headline, image_columns
from sing_monitor.analyses.invariants import analyze_invariants
from sing_monitor.observation import Observation
from sing_monitor.scores.moments import group_mean
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate import kernel
from tests.helpers import make_snapshot, make_texts, observe, reorder, scored
from tests.helpers.coverage import HEADLINE, World, coverage


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


def test_intervals_are_as_wide_as_refits_without_each_image_say() -> None:
    """The jackknife, by brute force: translators, center and penalty change with every image."""
    snapshot = make_snapshot(samples=120, noise=2.0)
    keys = [
        f"sing/{name}{suffix}"
        for suffix in ("", "_centered")
        for name in ("attribute_score", "attribute_score_abs", "image_score", "score_ratio")
    ] + ["sing/image_score_relative", "sing/attribute_share"]
    texts = make_texts(snapshot)

    def scores(snapshot: Snapshot) -> Tensor:
        scalars = analyze_invariants(Observation(snapshot, texts, ridge=0.03)).scalars
        return torch.tensor([scalars[key] for key in keys], dtype=torch.float64)

    rows = torch.arange(120)
    refitted = torch.stack([scores(reorder(snapshot, rows[rows != row])) for row in rows])
    # Images are drawn within their class.
    away = refitted - group_mean(refitted, snapshot.labels, 4)[snapshot.labels]
    expected = 1.96 * away.square().sum(dim=0).sqrt()
    table = intervals(Observation(snapshot, texts, ridge=0.03)).loc[keys]
    found = torch.tensor(((table["high"] - table["low"]) / 2).to_numpy())
    assert ((found / expected - 1).abs() < 0.2).all(), found / expected


def test_some_images_tell_what_all_of_them_would(
    big: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "MOST_IMAGES", 1000)
    whole, some = (
        (table["high"] - table["low"]).drop(index=[key for key in table.index if "random" in key])
        for table in (intervals(observed(big.snapshot)), intervals(big))
    )
    assert float((some / whole - 1).abs().max()) > 0
    assert float((some / whole - 1).abs().median()) < 0.1


def test_intervals_cover_the_mean_over_probes() -> None:
    """60 probes: a share of 0.95 has a standard error of 0.03, of 0.9 one of 0.04."""
    found, fixed = coverage(World(), per_class=30, probes=60, ridge=0.01)
    for key in HEADLINE:
        assert found[key].of_mean >= 0.88, key
        assert found[key].half_width < 1.7 * found[key].spread, key
    # With the translators held fixed they do not.
    assert fixed["sing/image_score"].of_mean < 0.75


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
