from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.analyses import CATALOGUE, TABLES, analyze
from sing_monitor.analyses.monitor_metrics import MONITOR_METRICS
from sing_monitor.findings import Findings, complete, expand
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import attribute_score, image_score
from sing_monitor.scores.derived import retention
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import TextSet
from sing_monitor.translate.random_subspaces import chosen_draw, remove_at_random
from tests.helpers import (
    class_texts,
    direct,
    generator,
    make_snapshot,
    make_texts,
    make_trajectory,
    normal,
    orthogonal,
    planted,
    reorder,
    scored_of,
    with_maps,
    with_stages,
)

RIDGE = 0.01
SUFFIXES = ("", "_centered", "_random")
# What a random subspace, drawn in fixed coordinates, has a part in.
BASELINE = ("_random", "sing/image_score_relative", "sing/attribute_score_excess", "perturb/")
# Logits themselves, in the head's own unit.
LOGITS = ("perturb/logits_random", "perturb/logits_principal")


def assert_scalars_agree(
    a: Findings, b: Findings, *, skip: tuple[str, ...] = (), tolerance: float = 1e-7
) -> None:
    assert a.scalars.keys() == b.scalars.keys()
    for key, value in a.scalars.items():
        if not any(part in key for part in skip):
            assert b.scalars[key] == pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True)


def by_image(findings: Findings) -> pd.DataFrame:
    table = findings.tables["images"].set_index("image").sort_index()
    assert isinstance(table, pd.DataFrame)
    return table


def test_class_on_seen_axes_by_hand() -> None:
    weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    texts = class_texts(torch.eye(3)[:2])
    findings = scored_of(planted(weight), texts, ridge=1e-11)
    low, high = math.degrees(math.atan(0.5)), math.degrees(math.atan(1.5))
    expected = {
        # The third feature is deleted, and nothing but the class is left.
        "sing/attribute_score": (low + high) / 2,
        "sing/attribute_score_abs": (low + high) / 2,
        "sing/image_score": (low + high) / 2,
        "sing/score_ratio": 1,
        "sing/image_score_std": (high - low) / 2 * math.sqrt(8 / 7),
        # The third feature goes to its mean, 1, and the angle to 45 degrees.
        "sing/attribute_score_centered": (low + high) / 2 - 45,
        "sing/attribute_score_abs_centered": (high - low) / 2,
        "sing/image_score_centered": (high - low) / 2,
        "sing/attribute_share": (low + high - 90) / (high - low),
        "sing/zero_shot": 1,
        "sing/zero_shot_centered": 1,
        "sing/retention": 1,
        "head/rank": 2,
        "head/null_dim": 1,
        "head/condition": 2,
        "head/null_energy": 1.25 / 2.25,  # mean of 0.25 and 2.25 over that and 1
        "head/null_energy_centered": 0.25 / 0.75,
        "head/mean_share": 1 / 1.25,
        "head/null_angle": (low + high) / 2,
        "translator/cosine": 1,
        "translator/r2": 1,
        "translator/ridge": 1e-11,
    }
    for key, value in expected.items():
        assert findings.scalars[key] == pytest.approx(value, abs=1e-6), key
    assert math.isnan(findings.scalars["head/drift"])
    # The third feature explains itself, a quarter of three quarters. The refit's rounding grows as
    # the ridge falls: at 1e-11 it is 4e-6 on some processors.
    refit = scored_of(planted(weight), texts, ridge=1e-8).scalars["translator/r2_null"]
    assert refit == pytest.approx(1 / 3, abs=1e-6)


def test_class_hidden_from_the_head_by_hand() -> None:
    snapshot = planted(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]))
    findings = scored_of(snapshot, class_texts(torch.eye(3)[:2]), ridge=1e-11)
    # The class goes to the middle of both, (0.5, 0.5, third): every image moves away from its own.
    score = distance = 0.0
    for third in (0.5, 1.5):
        length, middle = math.hypot(1, third), math.hypot(0.5, 0.5, third)
        score += math.degrees(math.acos(1 / length) - math.acos(0.5 / middle)) / 2
        cosine = (0.5 + third**2) / (length * middle)
        distance += math.degrees(math.acos(cosine)) / 2
    assert score < -20
    for suffix in ("", "_centered"):
        assert findings.scalars[f"sing/attribute_score{suffix}"] == pytest.approx(score, abs=1e-6)
        assert findings.scalars[f"sing/image_score{suffix}"] == pytest.approx(distance, abs=1e-6)
    np.testing.assert_allclose(findings.tables["classes"]["attribute_score"], score, atol=1e-6)
    assert findings.scalars["sing/zero_shot"] == 1


@pytest.mark.parametrize("dimensions", [(7, 12), (3, 3), (12, 40)])
def test_scalars_of_the_scores_equal_direct_ones(dimensions: tuple[int, int]) -> None:
    snapshot = make_snapshot(classes=dimensions[0], feature_dim=dimensions[1])
    texts = make_texts(snapshot)
    findings = scored_of(snapshot, texts, ridge=RIDGE, seed=5)
    fit, center, pairs = direct(snapshot)
    geometry = snapshot.geometry
    text = texts.classes.embeddings[snapshot.labels]
    removal = remove_at_random(
        snapshot.features, center, geometry.rank, chosen_draw(snapshot.ids), seed=5
    )
    equivalents = removal.equivalents(snapshot.features, center)
    random = fit.original(equivalents, center)
    kinds = {"": pairs.removed, "_centered": pairs.centered, "_random": random}
    for suffix, equivalent in kinds.items():
        toward = attribute_score(pairs.original, equivalent, text)
        moved = image_score(pairs.original, equivalent)
        expected = {
            "attribute_score": toward.mean(),
            "attribute_score_abs": toward.abs().mean(),
            "attribute_score_std": toward.std(),
            "image_score": moved.mean(),
            "image_score_std": moved.std(),
        }
        for name, value in expected.items():
            found = findings.scalars[f"sing/{name}{suffix}"]
            assert found == pytest.approx(float(value), abs=1e-9), name
    deviations = snapshot.features - center
    energies = [each.square().sum() for each in (snapshot.features - equivalents, deviations)]
    assert findings.scalars["head/null_energy_random"] == pytest.approx(
        float(energies[0] / energies[1])
    )


def test_the_random_baseline_follows_the_seed_and_nothing_else() -> None:
    snapshot = make_snapshot()
    texts = make_texts(snapshot)
    state = torch.get_rng_state()
    first = scored_of(snapshot, texts, ridge=RIDGE, seed=0)
    torch.rand(3)
    again = scored_of(snapshot, texts, ridge=RIDGE, seed=0)
    other = scored_of(snapshot, texts, ridge=RIDGE, seed=1)
    torch.set_rng_state(state)
    scored_of(snapshot, texts, ridge="auto")
    assert torch.equal(torch.get_rng_state(), state)
    assert first.scalars == pytest.approx(again.scalars, nan_ok=True, rel=0, abs=0)
    assert first.scalars["sing/image_score_random"] != other.scalars["sing/image_score_random"]
    assert_scalars_agree(first, other, skip=BASELINE, tolerance=0)


# The colour is drawn at random, so there is nothing to retain.
AT_CHANCE = {
    "attribute/colour_retention",
    "attribute/colour_retention_seen",
    "attribute/colour_probe_hidden",
}


def in_a_hierarchy(snapshot: Snapshot) -> Snapshot:
    """Half of the classes under one ancestor."""
    names = snapshot.class_names
    return replace(snapshot, hierarchy={n: ("one",) if i < 2 else () for i, n in enumerate(names)})


def test_all_keys_are_in_the_catalogue_and_the_catalogue_is_covered() -> None:
    snapshot = in_a_hierarchy(with_stages(with_maps(make_snapshot())))
    texts = make_texts(snapshot)
    first = analyze(snapshot, texts, trajectory=make_trajectory(19))
    findings = analyze(
        snapshot,
        texts,
        previous_head=snapshot.geometry,
        previous=first.kept,
        trajectory=make_trajectory(20),
    )
    keys = expand(CATALOGUE, ["colour"]).keys()
    of_the_monitor = {spec.key for spec in MONITOR_METRICS}
    expected = keys - of_the_monitor
    assert findings.scalars.keys() == expected
    values = complete(findings.scalars, CATALOGUE, ["colour"])
    assert values.keys() == keys
    assert all(math.isnan(values[key]) for key in of_the_monitor)
    assert all(math.isfinite(values[key]) for key in expected - AT_CHANCE)
    assert findings.tables.keys() == TABLES.keys()
    for name, table in findings.tables.items():
        expected = [column.name.format(attribute="colour") for column in TABLES[name].columns]
        assert list(table.columns) == expected, name


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20))
def test_attribute_score_never_exceeds_image_score(seed: int) -> None:
    snapshot = make_snapshot(seed=seed, samples=30)
    images = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE).tables["images"]
    for suffix in SUFFIXES:
        toward, moved = images[f"attribute_score{suffix}"], images[f"image_score{suffix}"]
        assert (toward.abs() <= moved + 1e-9).all()
        assert (moved > 0).all()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**20))
def test_scores_depend_on_neither_frame_nor_scale_of_the_head(seed: int) -> None:
    snapshot = make_snapshot(seed=seed)
    assert snapshot.bias is not None
    texts = make_texts(snapshot)
    previous = HeadGeometry.from_weight(normal(4, 12, seed=seed))
    before = analyze(snapshot, texts, ridge=RIDGE, previous_head=previous)
    turn = orthogonal(12, seed=seed + 1)
    turned = analyze(
        replace(snapshot, features=snapshot.features @ turn, weight=snapshot.weight @ turn),
        texts,
        ridge=RIDGE,
        previous_head=HeadGeometry.from_weight(normal(4, 12, seed=seed) @ turn),
    )
    assert_scalars_agree(before, turned, skip=BASELINE)
    scaled = analyze(
        replace(snapshot, weight=300 * snapshot.weight, bias=300 * snapshot.bias),
        texts,
        ridge=RIDGE,
        previous_head=previous,
    )
    assert_scalars_agree(before, scaled, skip=LOGITS)
    images, turned_images = before.tables["images"], turned.tables["images"]
    for name in ("attribute_score", "image_score_centered"):
        np.testing.assert_allclose(turned_images[name], images[name], atol=1e-7)


@pytest.mark.parametrize("size", [1e-33, 1e-15, 1e15])
def test_features_whose_squares_single_precision_does_not_hold(size: float) -> None:
    """Networks at their own initialisation may well have such features."""
    snapshot = replace(make_snapshot(), bias=None)
    texts = make_texts(snapshot)
    before = analyze(snapshot, texts, ridge=RIDGE)
    single = replace(snapshot, features=(size * snapshot.features).float())
    after = analyze(single, texts, ridge=RIDGE)
    for key in ("sing/image_score_centered", "sing/attribute_score", "collapse/nc1"):
        assert after.scalars[key] == pytest.approx(before.scalars[key], rel=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**20))
def test_scores_do_not_depend_on_the_order_of_the_classes(seed: int) -> None:
    snapshot = make_snapshot(seed=seed)
    assert snapshot.bias is not None
    texts = make_texts(snapshot)
    order = torch.randperm(4, generator=generator(seed))
    names = tuple(snapshot.class_names[c] for c in order.tolist())
    permuted = replace(
        snapshot,
        weight=snapshot.weight[order],
        bias=snapshot.bias[order],
        labels=order.argsort()[snapshot.labels],
        class_names=names,
    )
    permuted_texts = replace(texts, classes=TextSet(names, texts.classes.embeddings[order]))
    before = analyze(snapshot, texts, ridge=RIDGE)
    after = analyze(permuted, permuted_texts, ridge=RIDGE)
    assert_scalars_agree(before, after)
    for name, keys in {
        "classes": ["class_name"],
        "class_concepts": ["class_name", "concept"],
    }.items():
        tables = [
            findings.tables[name].drop(columns="class_index").set_index(keys).sort_index()
            for findings in (before, after)
        ]
        pd.testing.assert_frame_equal(*tables, atol=1e-7)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from([RIDGE, "auto"]))
def test_scores_do_not_depend_on_the_order_of_the_images(seed: int, ridge) -> None:
    snapshot = make_snapshot(seed=seed)
    texts = make_texts(snapshot)
    shuffled = reorder(snapshot, torch.randperm(60, generator=generator(seed)))
    before = analyze(snapshot, texts, ridge=ridge, n_images=10)
    after = analyze(shuffled, texts, ridge=ridge, n_images=10)
    assert_scalars_agree(before, after)
    pd.testing.assert_frame_equal(by_image(before), by_image(after), atol=1e-7)
    for name in ("classes", "concepts", "class_concepts", "spectrum"):
        pd.testing.assert_frame_equal(before.tables[name], after.tables[name], atol=1e-7)


@pytest.mark.parametrize("classes", [12, 30])
def test_without_a_null_space_scores_are_exactly_0(classes: int) -> None:
    snapshot = make_snapshot(samples=90, classes=classes, feature_dim=12)
    scalars = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE).scalars
    assert scalars["head/null_dim"] == 0
    for suffix in SUFFIXES:
        for name in ("attribute_score", "attribute_score_abs", "image_score", "image_score_std"):
            assert scalars[f"sing/{name}{suffix}"] == 0
        assert math.isnan(scalars[f"sing/score_ratio{suffix}"])
    for name in ("image_score_relative", "attribute_share", "attribute_share_random"):
        assert math.isnan(scalars[f"sing/{name}"])
    assert scalars["sing/zero_shot"] == scalars["sing/zero_shot_centered"]
    for name in ("null_energy", "null_energy_centered", "null_energy_random", "null_angle"):
        assert scalars[f"head/{name}"] == 0
    assert math.isnan(scalars["head/mean_share"])
    assert scalars["translator/r2_null"] == 0


def test_a_head_of_zeros_hides_everything() -> None:
    snapshot = make_snapshot()
    snapshot = replace(snapshot, weight=torch.zeros_like(snapshot.weight))
    scalars = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE).scalars
    assert scalars["head/rank"] == 0
    assert scalars["head/null_energy"] == pytest.approx(1)
    assert scalars["head/null_angle"] == 90
    assert scalars["translator/r2_null"] == pytest.approx(scalars["translator/r2"])
    assert scalars["sing/image_score_relative"] == pytest.approx(1)


@pytest.mark.parametrize("missing", [0, 3])
def test_a_class_may_be_missing_from_the_probe(missing: int) -> None:
    snapshot = in_a_hierarchy(make_snapshot())
    snapshot = reorder(snapshot, (snapshot.labels != missing).nonzero().squeeze(1))
    texts = make_texts(snapshot)
    findings = analyze(snapshot, texts, ridge=RIDGE)
    row = findings.tables["classes"].loc[missing]
    assert row["n"] == 0
    assert all(math.isnan(row[name]) for name in ("accuracy", "image_score", "attribute_score"))
    assert len(findings.tables["classes"]) == 4
    undefined = {"head/drift", "hierarchy/tree_change", *AT_CHANCE}
    for key, value in findings.scalars.items():
        assert math.isfinite(value) or key in undefined, key
    # Without an embedding for the missing class, as with prototypes, the rest stands.
    embeddings = texts.classes.embeddings.clone()
    embeddings[missing] = math.nan
    prototypes = replace(texts, classes=TextSet(snapshot.class_names, embeddings))
    fewer = analyze(snapshot, prototypes, ridge=RIDGE)
    before, after = (fewer.scalars[f"sing/{key}"] for key in ("zero_shot", "zero_shot_centered"))
    kept = retention(before, after, chance=1 / 3, samples=45)
    assert fewer.scalars["sing/retention"] == pytest.approx(kept)
    for key in ("sing/attribute_score", "sing/image_score", "sing/zero_shot"):
        assert math.isfinite(fewer.scalars[key])


def test_one_image_has_a_head_but_no_scores() -> None:
    snapshot = reorder(make_snapshot(), torch.tensor([4]))
    findings = analyze(snapshot, make_texts(snapshot))
    for key in ("rank", "null_dim", "null_energy", "mean_share", "null_angle", "condition"):
        assert math.isfinite(findings.scalars[f"head/{key}"])
    for key, value in findings.scalars.items():
        is_of_the_head = key.startswith(("head/", "hierarchy/"))
        assert is_of_the_head or key == "sing/unscored" or math.isnan(value), key
    assert findings.scalars["sing/unscored"] == 1
    images = findings.tables["images"]
    assert images["neighbours_before"].tolist() == [[]]
    assert images["mover"].tolist() == [False]
    assert findings.tables["concepts"]["angle_before"].isna().all()


def test_an_empty_fold_has_no_scores() -> None:
    snapshot = make_snapshot()
    assert snapshot.image_ids is not None
    snapshot = replace(snapshot, image_ids=2 * snapshot.image_ids)
    findings = analyze(snapshot, make_texts(snapshot), ridge=RIDGE)
    for key, value in findings.scalars.items():
        if key.startswith(("sing/", "translator/", "attribute/")) and key != "sing/unscored":
            assert math.isnan(value), key
    assert findings.scalars["sing/unscored"] == 60
    assert math.isfinite(findings.scalars["collapse/nc1"])
    assert math.isfinite(findings.scalars["head/null_energy_random"])
    assert not findings.tables["images"]["mover"].any()
    assert findings.tables["classes"]["n"].tolist() == [15] * 4


def test_auto_picks_a_ridge_and_warns_at_the_edge(caplog) -> None:
    snapshot = make_snapshot(noise=9)
    texts = make_texts(snapshot)
    with caplog.at_level(logging.WARNING, "sing_monitor"):
        scalars = scored_of(snapshot, texts).scalars
        assert caplog.text == ""
        again = scored_of(snapshot, texts, ridge=scalars["translator/ridge"])
        assert_scalars_agree(again, Findings(scalars), tolerance=0)
        noise = replace(snapshot, embeddings=normal(60, 8, seed=5))
        assert scored_of(noise, texts).scalars["translator/ridge"] == 10
    assert "at the edge of the grid" in caplog.text


def test_a_common_mean_of_float32_features_does_not_disturb_the_scores() -> None:
    snapshot = make_snapshot(samples=200, classes=4, feature_dim=12)
    assert snapshot.bias is not None
    texts = make_texts(snapshot)
    shift = 1e4 * normal(12, seed=3)
    far = (snapshot.features + shift).float()
    bias = snapshot.bias - snapshot.weight @ shift
    shifted = replace(snapshot, features=far, bias=bias)
    near = replace(snapshot, features=far.double() - shift)
    before, after = (analyze(each, texts, ridge=1e-3) for each in (near, shifted))
    # The paper's pair and the raw energies do follow the mean; nothing else may.
    for key, value in before.scalars.items():
        if key.endswith(("_centered", "_random", "r2", "cosine")) or key.startswith("collapse/"):
            assert after.scalars[key] == pytest.approx(value, abs=1e-5, rel=1e-5), key
    assert after.scalars["translator/r2_null"] == pytest.approx(
        before.scalars["translator/r2_null"], abs=1e-4
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_narrow_features_are_analysed_to_their_rounding(dtype: torch.dtype) -> None:
    snapshot = make_snapshot()
    texts = make_texts(snapshot)
    narrow = replace(
        snapshot, features=snapshot.features.to(dtype), embeddings=snapshot.embeddings.to(dtype)
    )
    wide = replace(
        snapshot, features=narrow.features.double(), embeddings=narrow.embeddings.double()
    )
    # Degrees, of up to 180: single precision holds seven digits.
    assert_scalars_agree(
        analyze(narrow, texts, ridge=RIDGE), analyze(wide, texts, ridge=RIDGE), tolerance=2e-5
    )


@pytest.mark.parametrize("features", [torch.full((60, 12), 0.1), torch.zeros(60, 12)])
def test_features_that_do_not_vary_mean_nothing(features: Tensor) -> None:
    snapshot = make_snapshot()
    snapshot = replace(snapshot, features=features)
    scalars = analyze(snapshot, make_texts(snapshot)).scalars
    for suffix in SUFFIXES:
        assert math.isnan(scalars[f"sing/image_score{suffix}"])
    assert math.isnan(scalars["translator/r2"])
    assert not any(math.isinf(value) for value in scalars.values())


@pytest.mark.parametrize("samples", [5, 8])
def test_fewer_images_than_features_are_analysed(samples: int) -> None:
    snapshot = replace(make_snapshot(samples=samples, feature_dim=40), image_ids=None)
    scalars = analyze(snapshot, make_texts(snapshot)).scalars
    assert math.isfinite(scalars["sing/image_score"])
    assert math.isfinite(scalars["translator/r2_null"])


@pytest.mark.parametrize(("ridge", "apart"), [(1e-6, 1e-3), (1e-2, 1e-3)])
def test_a_small_ridge_makes_little_of_single_precision(ridge: float, apart: float) -> None:
    # Features of unequal scale, as trained ones are: the ridge divides by small eigenvalues.
    snapshot = make_snapshot(samples=600, classes=4, feature_dim=60)
    scales = torch.logspace(0, -3, 60, dtype=torch.float64)
    narrow = replace(
        snapshot,
        features=(normal(600, 60, seed=8) * scales @ orthogonal(60, seed=9) + 1).float(),
        embeddings=snapshot.embeddings.float(),
    )
    wide = replace(narrow, features=narrow.features.double(), embeddings=narrow.embeddings.double())
    texts = make_texts(snapshot)
    single, double = (scored_of(each, texts, ridge=ridge).scalars for each in (narrow, wide))
    for suffix in SUFFIXES:
        for name in ("attribute_score", "image_score"):
            key = f"sing/{name}{suffix}"
            assert single[key] == pytest.approx(double[key], abs=apart), key
