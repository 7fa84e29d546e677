from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from sing_monitor.analyses.support import SUPPORT_METRICS, support_of
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import score_pairs
from sing_monitor.scores.pairs import EQUIVALENTS
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.cross_fit import TranslatedPairs
from tests.helpers import make_snapshot, make_texts, normal, orthogonal, reorder


def real(samples: int = 400, seed: int = 0) -> Snapshot:
    """Embeddings around a mean of length 5, of unequal variance."""
    z = normal(samples, 8, seed=seed) * torch.linspace(2, 0.5, 8) + 5 * torch.eye(8)[0]
    return replace(make_snapshot(samples=samples), embeddings=z)


def support(snapshot: Snapshot, original: Tensor, removed: Tensor, centered: Tensor) -> Findings:
    """The analysis of any vectors in the place of ``T f`` and its two equivalents."""
    texts = make_texts(snapshot).classes.embeddings
    scores = score_pairs(original, [removed, centered], texts, snapshot.labels)
    distances = {pair: found.image for pair, found in zip(EQUIVALENTS, scores, strict=True)}
    pairs = TranslatedPairs(original, removed, centered, snapshot.seen)
    return support_of(snapshot, pairs, distances)


def test_other_real_images_are_in_support_as_often_as_real_images_are() -> None:
    snapshot = real(2000)
    other = normal(2000, 8, seed=9) * torch.linspace(2, 0.5, 8) + 5 * torch.eye(8)[0]
    scalars = support(snapshot, other, other, other).scalars
    assert scalars.keys() == {spec.key for spec in SUPPORT_METRICS}
    for suffix in ("_translated", "", "_centered"):
        # 2,000 images: a standard error of 0.002 about 0.01, of 0.006 about 0.5.
        assert 0.003 < scalars[f"support/outside{suffix}"] < 0.02
        assert scalars[f"support/percentile{suffix}"] == pytest.approx(0.5, abs=0.03)
        assert scalars[f"support/conformity{suffix}"] == pytest.approx(
            scalars["support/conformity_real"], abs=0.02
        )


def test_equivalents_that_are_known_to_differ_by_one_vector_need_one_product() -> None:
    snapshot = make_snapshot(samples=300)
    observation = Observation(snapshot, make_texts(snapshot), ridge=0.01)
    known = observation.translated
    assert len(known.apart) == 2
    distances = {pair: observation.scores[pair].image for pair in EQUIVALENTS}
    found = support_of(snapshot, known, distances)
    expected = support_of(snapshot, replace(known, apart=()), distances)
    assert found.scalars == pytest.approx(expected.scalars)
    assert found.scalars["support/percentile"] != found.scalars["support/percentile_centered"]
    pd.testing.assert_frame_equal(found.tables["support"], expected.tables["support"])


def test_each_kind_of_vector_is_placed_on_its_own() -> None:
    snapshot = real()
    z = snapshot.embeddings
    mean = z.mean(dim=0)
    findings = support(snapshot, z, mean + 4 * (z - mean), mean + (z - mean) / 4)
    scalars = findings.scalars
    assert scalars["support/outside_translated"] == pytest.approx(0.01, abs=0.01)
    assert scalars["support/outside"] > 0.9
    assert scalars["support/outside_centered"] == 0
    assert scalars["support/percentile_centered"] < 0.05 < scalars["support/percentile_translated"]
    assert (
        scalars["support/conformity"]
        < scalars["support/conformity_real"]
        < scalars["support/conformity_centered"]
    )
    # Farther from the mean: more special; nearer: more generic.
    assert scalars["support/radial"] < 0 < scalars["support/radial_centered"]


def test_the_reference_does_not_hold_the_images_that_are_scored() -> None:
    """Stretch one fold's real images, three times about their mean, and nothing else."""
    snapshot = real()
    z, second = snapshot.embeddings, snapshot.folds == 1
    mean = z[second].mean(dim=0)
    changed = replace(snapshot, embeddings=z.where(~second[:, None], mean + 3 * (z - mean)))
    before, after = (
        support(each, z, z, z).tables["support"]["percentile"].to_numpy()
        for each in (snapshot, changed)
    )
    # The first fold's norms are all divided by three, which changes no place among them.
    np.testing.assert_allclose(after[~second], before[~second])
    # The second fold's reference has not changed: its vectors lie low among the stretched ones.
    assert before[second].mean() > 0.4
    assert after[second].mean() < 0.1


def test_tables_hold_the_images_and_the_means_of_their_classes() -> None:
    snapshot = real()
    z = snapshot.embeddings
    findings = support(snapshot, z, 2 * z.flip(1), z + 1)
    images, classes = findings.tables["support"], findings.tables["class_support"]
    assert images["image"].is_unique
    assert images["label"].tolist() == snapshot.labels.tolist()
    quantities = [column for column in images if column not in ("image", "label")]
    assert {f"support/{name}" for name in quantities} | {"support/dimensions"} == set(
        findings.scalars
    )
    for name in quantities:
        assert images[name].mean() == pytest.approx(findings.scalars[f"support/{name}"])
    expected = images.groupby("label")[quantities].mean().to_numpy()
    np.testing.assert_allclose(classes[quantities].to_numpy(), expected)
    assert classes["n"].tolist() == [100] * 4
    assert set(images["outside"]) <= {0.0, 1.0}
    assert (images["outside"] == (images["percentile"] > 0.99)).all()


def test_neither_order_nor_frame_matters() -> None:
    snapshot = real(120)
    z = snapshot.embeddings
    others = [normal(120, 8, seed=seed) + 3 for seed in (1, 2, 3)]
    expected = pytest.approx(dict(support(snapshot, *others).scalars), rel=1e-9, abs=1e-9)
    order, turn = torch.randperm(120), orthogonal(8, seed=4)
    turned = replace(snapshot, embeddings=z @ turn)
    assert support(turned, *(v @ turn for v in others)).scalars == expected
    shuffled = reorder(snapshot, order)
    assert support(shuffled, *(v[order] for v in others)).scalars == expected


def test_a_class_without_images_is_undefined() -> None:
    snapshot = real()
    rows = (snapshot.labels != 2).nonzero().squeeze(1)
    snapshot = reorder(snapshot, rows)
    z = snapshot.embeddings
    classes = support(snapshot, z, z, z).tables["class_support"]
    assert classes["n"].tolist()[2] == 0
    assert classes["percentile"].isna().tolist() == [False, False, True, False]


@pytest.mark.parametrize("in_second_fold", [0, 1])
def test_a_fold_with_fewer_than_two_images_leaves_nothing_to_say(in_second_fold: int) -> None:
    snapshot = real(20)
    ids = 2 * torch.arange(20) + (torch.arange(20) < in_second_fold)
    snapshot = replace(snapshot, image_ids=ids)
    undefined = torch.full((20, 8), math.nan).double()
    findings = support(snapshot, undefined, undefined, undefined)
    undefined_keys = {key for key, value in findings.scalars.items() if math.isnan(value)}
    # Where one fold's images serve as reference, they have a dimension.
    assert undefined_keys >= {spec.key for spec in SUPPORT_METRICS} - {"support/dimensions"}
    assert findings.tables["support"]["outside"].isna().all()


def test_equal_embeddings_leave_nothing_to_say() -> None:
    snapshot = replace(real(20), embeddings=torch.ones(20, 8))
    z = snapshot.embeddings.double()
    assert all(map(math.isnan, support(snapshot, z, z, z).scalars.values()))
