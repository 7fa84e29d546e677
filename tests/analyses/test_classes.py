from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sing_monitor.analyses.classes import evidence_scalars, poor_classes
from sing_monitor.findings import Findings
from sing_monitor.scores.class_leaks import deviations, p_values, q_values
from sing_monitor.snapshot import Snapshot
from tests.helpers import (
    make_snapshot,
    make_texts,
    observe,
    reorder,
    scored,
    scored_of,
)

RIDGE = 0.01
SUFFIXES = ("", "_centered", "_random")


def analyzed(snapshot: Snapshot) -> Findings:
    return scored(observe(snapshot, ridge=RIDGE))


def blind_to(snapshot: Snapshot, label: int) -> Snapshot:
    """The same features under a head that cannot see what sets one class apart."""
    own = snapshot.labels == label
    apart = snapshot.features[own].mean(dim=0) - snapshot.features[~own].mean(dim=0)
    apart = apart / apart.norm()
    weight = snapshot.weight - torch.outer(snapshot.weight @ apart, apart)
    return replace(snapshot, weight=weight)


@pytest.fixture(scope="module")
def seeing() -> Snapshot:
    """Twelve classes of 30 images under a head that reads their means."""
    snapshot = make_snapshot(samples=360, classes=12, feature_dim=40, embedding_dim=24)
    means = torch.stack([snapshot.features[snapshot.labels == c].mean(dim=0) for c in range(12)])
    return replace(snapshot, weight=means - means.mean(dim=0))


def test_each_class_has_the_ratios_that_the_model_has(seeing: Snapshot) -> None:
    classes = analyzed(seeing).tables["classes"]
    for ratio, (above, below) in {
        "image_score_relative": ("image_score_centered", "image_score_random"),
        "attribute_share": ("attribute_score_centered", "image_score_centered"),
        "attribute_share_random": ("attribute_score_random", "image_score_random"),
    }.items():
        np.testing.assert_allclose(classes[ratio], classes[above] / classes[below])
    assert classes["attribute_share"].abs().max() <= 1


def test_tests_are_those_of_the_images_in_the_table(seeing: Snapshot) -> None:
    tables = analyzed(seeing).tables
    scores = torch.tensor(tables["images"]["attribute_score_centered"].to_numpy())
    p = p_values(scores, seeing.labels, 12)
    classes = tables["classes"]
    np.testing.assert_allclose(classes["attribute_p"], p)
    np.testing.assert_allclose(classes["attribute_q"], q_values(p))
    means = torch.tensor(classes["attribute_score_centered"].to_numpy())
    np.testing.assert_allclose(classes["attribute_deviation"], deviations(means))


@pytest.mark.parametrize("label", [0, 7])
def test_the_class_that_is_hidden_from_the_head_leaks(seeing: Snapshot, label: int) -> None:
    assert analyzed(seeing).scalars["sing/leaking_classes"] == 0
    findings = analyzed(blind_to(seeing, label))
    classes = findings.tables["classes"]
    # A class whose mean lies nearby may be hidden with it.
    assert 1 <= findings.scalars["sing/leaking_classes"] <= 2
    assert classes["attribute_deviation"].idxmin() == label
    assert classes["attribute_deviation"].min() == findings.scalars["sing/class_deviation"] < -5
    assert classes["attribute_q"][label] < 1e-6


def test_a_class_of_few_images_is_not_judged(seeing: Snapshot) -> None:
    few = (seeing.labels == 7).nonzero().squeeze(1)[7:]
    kept = torch.ones(360, dtype=torch.bool).index_fill(0, few, False)
    findings = analyzed(reorder(blind_to(seeing, 7), kept.nonzero().squeeze(1)))
    row = findings.tables["classes"].loc[7]
    assert row["n"] == 7
    assert row[["attribute_p", "attribute_q"]].isna().all()
    assert findings.scalars["sing/leaking_classes"] == 0


def test_copies_of_a_few_objects_are_no_evidence_against_a_class(seeing: Snapshot) -> None:
    """Thirty images of six objects a class: as many witnesses as objects, too few to judge by."""
    objects = torch.arange(360) // 60 * 12 + seeing.labels
    blind = blind_to(seeing, 7)
    assert analyzed(blind).scalars["sing/leaking_classes"] >= 1
    findings = analyzed(replace(blind, groups=objects))
    classes = findings.tables["classes"]
    assert classes[["attribute_p", "attribute_q", "attribute_deviation"]].isna().all(axis=None)
    assert math.isnan(findings.scalars["sing/leaking_classes"])
    assert math.isnan(findings.scalars["sing/class_deviation"])
    pairs = analyzed(replace(blind, groups=torch.arange(360) // 24 * 12 + seeing.labels))
    assert pairs.tables["classes"]["attribute_deviation"].idxmin() == 7
    assert pairs.scalars["sing/leaking_classes"] >= 1


def test_two_classes_cannot_say_which_is_out_of_line() -> None:
    scalars = analyzed(make_snapshot(samples=200, classes=2)).scalars
    assert math.isnan(scalars["sing/leaking_classes"])
    assert math.isnan(scalars["sing/class_deviation"])
    assert scalars["translator/poor_classes"] == 0


def test_the_translation_of_a_class_is_measured_on_images_it_was_not_fitted_on(
    seeing: Snapshot,
) -> None:
    observation = observe(seeing, ridge=RIDGE)
    classes = scored(observation).tables["classes"]
    translated, z = observation.translated.original, seeing.embeddings
    for label in range(12):
        errors = deviation = 0.0
        for row in (seeing.labels == label).nonzero().flatten().tolist():
            fitted = z[seeing.folds != seeing.folds[row]]
            errors += float((z[row] - translated[row]).square().sum())
            deviation += float((z[row] - fitted.mean(dim=0)).square().sum())
        assert classes["translator_r2"][label] == pytest.approx(1 - errors / deviation)
    cosines = torch.cosine_similarity(translated, z, dim=1)
    expected = [float(cosines[seeing.labels == label].mean()) for label in range(12)]
    np.testing.assert_allclose(classes["translator_cosine"], expected)
    assert poor_classes(classes) == []


def test_a_class_whose_images_are_noise_to_the_translator_is_named(seeing: Snapshot) -> None:
    z = seeing.embeddings.clone()
    noisy = (seeing.labels == 4).nonzero().squeeze(1)
    # Every image in the place of another one of its class, on the far side of the mean.
    z[noisy] = 2 * z.mean(dim=0) - z[noisy.roll(1)]
    z[noisy[1::2]] = 2 * z.mean(dim=0) - z[noisy[1::2]]
    findings = analyzed(replace(seeing, embeddings=z))
    assert poor_classes(findings.tables["classes"]) == ["class 4"]
    assert findings.scalars["translator/poor_classes"] == 1


def test_nothing_is_known_where_a_fold_is_empty(seeing: Snapshot) -> None:
    findings = analyzed(replace(seeing, image_ids=2 * torch.arange(360)))
    for key in ("sing/leaking_classes", "sing/class_deviation", "translator/poor_classes"):
        assert math.isnan(findings.scalars[key])
    assert poor_classes(findings.tables["classes"]) == []


def test_poor_classes_stand_worst_first_and_small_ones_are_left_out() -> None:
    classes = pd.DataFrame(
        {
            "class_name": ["a", "b", "c", "d"],
            "n": [9, 9, 5, 9],
            "translator_r2": [-0.1, -0.5, -3.0, 0.2],
            "attribute_score_centered": [math.nan] * 4,
            "attribute_q": [math.nan] * 4,
            "attribute_deviation": [math.nan] * 4,
        }
    )
    assert poor_classes(classes) == ["b", "a"]
    assert evidence_scalars(classes)["translator/poor_classes"] == 2


def test_the_class_table_groups_the_images() -> None:
    snapshot = make_snapshot(samples=50, classes=4)
    keep = (snapshot.labels != 2) | (torch.arange(50) == 2)  # one image of class 2
    snapshot = reorder(snapshot, keep.nonzero().squeeze(1))
    findings = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE)
    classes = findings.tables["classes"].set_index("class_index")
    images = findings.tables["images"]
    groups = images.groupby("label")
    assert classes["class_name"].tolist() == list(snapshot.class_names)
    assert classes["n"].tolist() == groups.size().tolist()
    correct = (images["label"] == images["prediction"]).groupby(images["label"]).mean()
    np.testing.assert_allclose(classes["accuracy"], correct)
    for suffix in SUFFIXES:
        for name in (f"attribute_score{suffix}", f"image_score{suffix}"):
            np.testing.assert_allclose(classes[name], groups[name].mean(), atol=1e-9)
    for suffix in ("", "_centered"):
        toward, moved = f"attribute_score{suffix}", f"image_score{suffix}"
        magnitude = images[toward].abs().groupby(images["label"]).mean()
        np.testing.assert_allclose(classes[f"attribute_score_abs{suffix}"], magnitude, atol=1e-9)
        np.testing.assert_allclose(
            classes[f"attribute_score_std{suffix}"], groups[toward].std(), atol=1e-9
        )
        np.testing.assert_allclose(
            classes[f"image_score_std{suffix}"], groups[moved].std(), atol=1e-9
        )
    assert math.isnan(classes.loc[2, "image_score_std"])


def test_the_classes_average_to_the_model_for_every_pair() -> None:
    snapshot = make_snapshot(samples=60, classes=4)
    findings = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE)
    classes = findings.tables["classes"]
    for suffix in SUFFIXES:
        for name in ("attribute_score", "attribute_score_abs", "image_score"):
            value = findings.scalars[f"sing/{name}{suffix}"]
            assert classes[f"{name}{suffix}"].mean() == pytest.approx(value, abs=1e-9)
