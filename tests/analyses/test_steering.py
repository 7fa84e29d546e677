from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sing_monitor.analyses.steering import (
    IMAGES_PER_PAIR,
    MAX_PAIRS,
    STEERING_METRICS,
    analyze_steering,
    nearest_pairs,
)
from sing_monitor.findings import Findings
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.steering import steer
from tests.helpers import generator, make_snapshot, make_texts, normal, observe, reorder

ARGUMENTS = {"samples": 120, "feature_dim": 24, "noise": 0.1}


def steering(snapshot: Snapshot, **changes: object) -> Findings:
    texts = make_texts(snapshot)
    return analyze_steering(observe(snapshot, texts, ridge=0.01), **changes)  # type: ignore[arg-type]


def test_each_class_goes_to_the_class_of_the_nearest_text() -> None:
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [math.nan, math.nan]])
    labels = torch.tensor([2, 0, 1, 0, 3])
    assert nearest_pairs(texts, labels) == ((0, 1), (1, 0), (2, 1))
    assert nearest_pairs(texts, labels[:1]) == ((2, 1),)
    assert nearest_pairs(texts[:1], torch.tensor([0])) == ()


def test_pairs_of_many_classes_are_few_and_spread_out() -> None:
    pairs = nearest_pairs(normal(1000, 8, seed=0), torch.arange(1000))
    assert MAX_PAIRS / 2 < len(pairs) <= MAX_PAIRS
    assert pairs[-1][0] > 900
    assert all(source != target for source, target in pairs)


def test_the_table_holds_what_each_translator_says_of_the_other_fold() -> None:
    snapshot = make_snapshot(**ARGUMENTS)
    observation = observe(snapshot, ridge=0.01)
    table = analyze_steering(observation, pairs=[(2, 0), (2, 3)]).tables["steering"]
    assert table["source"].tolist() == ["class 2", "class 2"]
    assert table["target"].tolist() == ["class 0", "class 3"]
    assert table["n"].tolist() == [IMAGES_PER_PAIR] * 2
    own = (snapshot.labels == 2).nonzero().flatten()
    own = own[snapshot.image_ids[own].argsort()][:IMAGES_PER_PAIR]
    scores = []
    assert observation.fit.translators is not None
    for row in own.tolist():
        translator = observation.fit.translators[int(snapshot.folds[row])]
        text = observation.class_texts[3]
        moved = steer(snapshot.features[row : row + 1], translator, snapshot.geometry, text)
        scores.append(float(moved.attribute_score))
    finite = [score for score in scores if not math.isnan(score)]
    row = table.iloc[1]
    assert row["reachable"] == len(finite) / len(scores) > 0
    assert row["attribute_score"] == pytest.approx(sum(finite) / len(finite))
    assert row["attribute_score_abs"] == pytest.approx(sum(map(abs, finite)) / len(finite))


def test_scalars_are_means_over_all_steered_images() -> None:
    found = steering(make_snapshot(**ARGUMENTS))
    table, scalars = found.tables["steering"], found.scalars
    assert set(scalars) == {spec.key for spec in STEERING_METRICS}
    assert len(table) == 4
    weight = table["n"] * table["reachable"]
    assert scalars["steer/reachable"] == pytest.approx(weight.sum() / table["n"].sum())
    for name in ("attribute_score", "attribute_score_abs"):
        mean = (table[name] * weight).sum() / weight.sum()
        assert scalars[f"steer/{name}"] == pytest.approx(mean)
    assert scalars["steer/attribute_score"] > 0
    assert scalars["steer/limit"] > 40


def test_the_same_images_are_steered_whatever_their_order() -> None:
    snapshot = make_snapshot(**ARGUMENTS)
    texts = make_texts(snapshot)
    shuffled = reorder(snapshot, torch.randperm(len(snapshot), generator=generator(1)))
    first, second = (
        analyze_steering(observe(each, texts, ridge=0.01)) for each in (snapshot, shuffled)
    )
    assert second.scalars == pytest.approx(first.scalars, rel=1e-9)


def test_a_head_that_sees_everything_cannot_be_steered() -> None:
    found = steering(make_snapshot(classes=15))
    assert found.scalars["steer/reachable"] == 0
    for key in ("attribute_score", "attribute_score_abs", "attribute_score_std", "limit"):
        assert math.isnan(found.scalars[f"steer/{key}"])


def test_without_a_translator_nothing_is_known() -> None:
    found = steering(reorder(make_snapshot(), torch.tensor([4])))
    assert all(math.isnan(value) for value in found.scalars.values())
    assert found.tables["steering"]["n"].tolist() == [1]


def test_a_single_class_has_no_target() -> None:
    snapshot = make_snapshot(classes=1)
    found = steering(snapshot)
    assert all(math.isnan(value) for value in found.scalars.values())
    full = steering(make_snapshot()).tables["steering"]
    assert found.tables["steering"].empty
    assert list(found.tables["steering"].columns) == list(full.columns)


def test_a_class_without_images_is_a_row_of_undefined_scores() -> None:
    snapshot = make_snapshot(**ARGUMENTS)
    texts = make_texts(snapshot)
    rest = reorder(snapshot, (snapshot.labels != 1).nonzero().flatten())
    observation = observe(rest, texts, ridge=0.01)
    table = analyze_steering(observation, pairs=[(1, 0), (0, 1)]).tables["steering"]
    assert table["n"].tolist() == [0, IMAGES_PER_PAIR]
    assert table["attribute_score"].isna().tolist() == [True, False]


def test_a_pair_of_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(0, 4\) names no class; classes are 0 to 3"):
        steering(make_snapshot(), pairs=[(1, 2), (0, 4)])


def test_softmax_and_logits_are_steered_in_their_own_null_space() -> None:
    snapshot = make_snapshot(**ARGUMENTS)
    one_more = steering(replace(snapshot, invariance="softmax")).scalars
    assert one_more["steer/limit"] != steering(snapshot).scalars["steer/limit"]
