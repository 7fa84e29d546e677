"""Scores do not know an image from its copy, nor a class from its place in the order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sing_monitor.analyses import analyze
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from tests.helpers import generator


def in_rotation(classes: int = 10, samples: int = 1000) -> tuple[Snapshot, Texts]:
    """Classes 0, 1, ..., 9, 0, 1, ...; features and embeddings both tell the class."""
    g = generator(0)
    labels = torch.arange(samples) % classes
    means = 1.5 * torch.randn(classes, 64, generator=g)
    texts = torch.randn(classes, 32, generator=g) + 1
    names = tuple(map(str, range(classes)))
    snapshot = Snapshot(
        weight=means + 0.1 * torch.randn(classes, 64, generator=g),
        bias=None,
        features=means[labels] + torch.randn(samples, 64, generator=g),
        labels=labels,
        embeddings=texts[labels] + 0.3 * torch.randn(samples, 32, generator=g),
        class_names=names,
    )
    return snapshot, Texts(TextSet(names, texts))


def in_order(snapshot: Snapshot, order: Tensor) -> Snapshot:
    return replace(
        snapshot,
        features=snapshot.features[order],
        labels=snapshot.labels[order],
        embeddings=snapshot.known_embeddings[order],
        image_ids=None,
    )


def test_the_order_of_the_classes_does_not_matter() -> None:
    """By the parity of the position no translator saw the classes that it scores: 0.00 for 1.00."""
    snapshot, texts = in_rotation()
    shuffled = torch.randperm(1000, generator=generator(1))
    orders = (torch.arange(1000), snapshot.labels.argsort(stable=True), shuffled)
    found = [analyze(in_order(snapshot, order), texts).scalars for order in orders]
    for scalars in found:
        assert scalars["sing/zero_shot"] > 0.99
        assert scalars["translator/r2"] == pytest.approx(found[-1]["translator/r2"], abs=0.02)
        for key in ("image_score", "image_score_centered", "image_score_random"):
            expected = found[-1][f"sing/{key}"]
            assert scalars[f"sing/{key}"] == pytest.approx(expected, abs=1.5), key


def photographs(objects: int = 100, copies: int = 4) -> tuple[Snapshot, Texts, Tensor]:
    """Embeddings know the class; features are independent of them from object to object."""
    g = generator(0)
    labels = torch.randint(0, 10, (objects,), generator=g)
    texts = torch.randn(10, 32, generator=g)
    features = torch.randn(objects, 256, generator=g)
    embeddings = torch.randn(objects, 32, generator=g) + texts[labels] + 1
    which = torch.arange(objects).repeat_interleave(copies)
    samples, names = objects * copies, tuple(map(str, range(10)))
    snapshot = Snapshot(
        weight=torch.randn(10, 256, generator=g),
        bias=None,
        features=features[which] + 0.2 * torch.randn(samples, 256, generator=g),
        labels=labels[which],
        embeddings=embeddings[which] + 0.1 * torch.randn(samples, 32, generator=g),
        class_names=names,
        image_ids=torch.randint(-(2**62), 2**62, (samples,), generator=g),
    )
    return snapshot, Texts(TextSet(names, texts + 1)), which


def test_features_that_know_nothing_are_read_by_their_copies_alone() -> None:
    snapshot, texts, which = photographs()
    known = analyze(snapshot, texts).scalars
    assert known["translator/r2"] > 0.7
    assert known["sing/zero_shot"] > 0.8
    assert known["monitor/near_copies"] > 0.8
    grouped = analyze(replace(snapshot, groups=which), texts).scalars
    assert grouped["translator/r2"] < 0.02
    assert grouped["sing/zero_shot"] < 0.2
    assert grouped["monitor/near_copies"] == 0


def test_intervals_of_groups_are_as_wide_as_the_number_of_objects_asks_for() -> None:
    snapshot, texts, which = photographs(objects=60, copies=5)
    single = replace(in_order(snapshot, torch.arange(0, 300, 5)), groups=torch.arange(60))
    keys, widths = ("sing/image_score_centered", "sing/zero_shot"), []
    for given in (single, replace(snapshot, groups=which), snapshot):
        table = analyze(given, texts, ridge=1.0).tables["intervals"].set_index("key")
        widths.append((table["high"] - table["low"])[list(keys)])
    one, grouped, apart = widths
    assert (grouped / one - 1).abs().max() < 0.35
    assert apart["sing/zero_shot"] < 0.65 * grouped["sing/zero_shot"]


def test_single_precision_and_half_precision_find_the_same_copies() -> None:
    snapshot, texts, _ = photographs()
    expected = analyze(snapshot, texts).scalars["monitor/near_copies"]
    half = replace(snapshot, embeddings=snapshot.known_embeddings.half())
    assert analyze(half, texts).scalars["monitor/near_copies"] == pytest.approx(expected, abs=0.01)
