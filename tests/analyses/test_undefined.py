"""What few images, few classes and missing texts leave undefined is NaN, and the rest stays."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sing_monitor.analyses import analyze
from sing_monitor.findings import Findings
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from tests.helpers import make_snapshot, make_texts, normal, reorder


def found(snapshot: Snapshot, texts: Texts | None = None, **options: float) -> Findings:
    return analyze(snapshot, make_texts(snapshot) if texts is None else texts, **options)


def with_ids(snapshot: Snapshot, folds: list[int]) -> Snapshot:
    return replace(snapshot, image_ids=torch.arange(len(folds)) * 2 + torch.tensor(folds))


TRANSLATED = (
    "sing/attribute_score",
    "sing/attribute_score_centered",
    "sing/image_score",
    "sing/image_score_centered",
    "sing/image_score_random",
    "sing/score_ratio",
    "sing/zero_shot",
    "sing/zero_shot_centered",
    "sing/retention",
    "translator/r2",
    "translator/cosine",
    "translator/ridge",
)


@pytest.mark.parametrize("ridge", ["auto", 0.01])
@pytest.mark.parametrize(
    "folds",
    [[0, 1], [1, 1], [0], [0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1, 1]],
    ids=lambda folds: "".join(map(str, folds)),
)
def test_with_less_than_two_images_in_a_fold_nothing_is_translated(
    folds: list[int], ridge: float
) -> None:
    """A translator of one image gives every image its embedding, so that nothing seems to move."""
    snapshot = with_ids(make_snapshot(samples=len(folds), classes=2), folds)
    scalars = found(snapshot, ridge=ridge).scalars
    for key in TRANSLATED:
        assert math.isnan(scalars[key]), key
    assert scalars["sing/unscored"] == len(folds)
    assert scalars["head/null_dim"] == 10


def test_two_images_in_either_fold_are_enough() -> None:
    snapshot = with_ids(make_snapshot(samples=4, classes=2), [0, 1, 1, 0])
    scalars = found(snapshot, ridge=0.01).scalars
    assert scalars["sing/image_score"] > 0
    assert scalars["sing/unscored"] == 0


def test_images_that_are_all_alike_in_a_fold_translate_nothing() -> None:
    snapshot = make_snapshot(samples=8, classes=2)
    features = snapshot.features.clone()
    features[:4] = features[0]
    snapshot = with_ids(replace(snapshot, features=features), [0, 0, 0, 0, 1, 1, 1, 1])
    scalars = found(snapshot).scalars
    assert math.isnan(scalars["sing/image_score_centered"])


def test_embeddings_that_are_all_alike_leave_nothing_to_translate() -> None:
    """Else every angle would be 0, as if the head saw all."""
    snapshot = make_snapshot(samples=40)
    alike = snapshot.embeddings[:1].expand(40, -1).clone()
    scalars = found(replace(snapshot, embeddings=alike)).scalars
    for name in ("image_score", "attribute_score", "class_hidden", "zero_shot"):
        assert math.isnan(scalars[f"sing/{name}"]), name


def without_text(texts: Texts, label: int) -> Texts:
    embeddings = texts.classes.embeddings.clone()
    embeddings[label] = math.nan
    return replace(texts, classes=TextSet(texts.classes.names, embeddings))


def test_images_of_a_class_without_text_are_left_out_and_counted() -> None:
    snapshot = make_snapshot(samples=80)
    texts = make_texts(snapshot)
    whole, partial = found(snapshot, texts), found(snapshot, without_text(texts, 2))
    kept = snapshot.labels != 2
    scalars = partial.scalars
    assert scalars["sing/unscored"] == 20
    assert whole.scalars["sing/unscored"] == 0
    images = whole.tables["images"]
    for pair in ("", "_centered", "_random"):
        column = torch.tensor(images[f"attribute_score{pair}"].to_numpy())[kept]
        for name, value in {
            "": column.mean(),
            "_std": column.std(),
            "_abs": column.abs().mean(),
        }.items():
            key = f"sing/attribute_score{name}{pair}"
            assert scalars[key] == pytest.approx(float(value), rel=1e-9), key
        # IS asks for no text.
        assert scalars[f"sing/image_score{pair}"] == whole.scalars[f"sing/image_score{pair}"]
    # The others choose among three texts.
    rows = kept.nonzero().flatten()
    assert 1 / 3 < scalars["sing/zero_shot"] <= 1
    assert scalars["sing/zero_shot"] >= float(
        (whole.scalars["sing/zero_shot"] * 80 - 20) / len(rows)
    )
    assert math.isfinite(scalars["sing/retention"])
    intervals = partial.tables["intervals"].set_index("key")
    for key in ("sing/attribute_score_centered", "sing/zero_shot", "sing/retention"):
        low, value, high = intervals.loc[key, ["low", "value", "high"]]
        assert low <= value <= high, key
    classes = partial.tables["classes"].set_index("class_index")
    assert classes["attribute_score"].isna().tolist() == [False, False, True, False]


def test_images_whose_attribute_has_a_value_without_text_are_left_out() -> None:
    snapshot = make_snapshot(samples=80)
    texts = make_texts(snapshot)
    embeddings = texts.attributes["colour"].embeddings.clone()
    embeddings[1] = math.nan
    attributes = {"colour": TextSet(texts.attributes["colour"].names, embeddings)}
    scalars = found(snapshot, replace(texts, attributes=attributes)).scalars
    assert math.isfinite(scalars["attribute/colour_score"])
    assert math.isfinite(scalars["attribute/colour_zero_shot"])
    assert scalars["sing/unscored"] == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bias_that_is_no_number_leaves_the_epoch_undefined_in_words(value: float) -> None:
    snapshot = make_snapshot()
    assert snapshot.bias is not None
    bias = snapshot.bias.index_fill(0, torch.tensor(2), value)
    with pytest.raises(ValueError, match="the head's bias holds NaN or infinite entries"):
        found(replace(snapshot, bias=bias))
    weight = snapshot.weight.clone()
    weight[1, 2] = value
    with pytest.raises(ValueError, match="the head's weight holds NaN or infinite entries"):
        found(replace(snapshot, weight=weight))


def test_a_class_may_be_taken_out_by_its_bias() -> None:
    snapshot = make_snapshot()
    assert snapshot.bias is not None
    bias = snapshot.bias.index_fill(0, torch.tensor(2), -math.inf)
    assert math.isfinite(found(replace(snapshot, bias=bias)).scalars["collapse/nc4"])


# Lengths grow with the features, and the ridge is relative.
_LENGTHS = {"perturb/logits_null", "perturb/logits_random", "perturb/logits_principal"}


@pytest.mark.parametrize("scale", [1e-15, 1e12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_very_small_and_very_large_features_say_what_others_say(
    scale: float, dtype: torch.dtype
) -> None:
    snapshot = make_snapshot()
    snapshot = replace(snapshot, features=snapshot.features.to(dtype).double())
    assert snapshot.bias is not None
    texts, expected = make_texts(snapshot), found(snapshot, ridge=0.01).scalars
    scaled = replace(
        snapshot, features=(snapshot.features * scale).to(dtype), bias=snapshot.bias * scale
    )
    scalars = found(scaled, texts, ridge=0.01).scalars
    assert scalars.keys() == expected.keys()
    for key in expected.keys() - _LENGTHS:
        close = pytest.approx(expected[key], rel=1e-4, abs=1e-5, nan_ok=True)
        assert scalars[key] == close, key


def test_two_classes_lack_nothing_but_what_two_means_cannot_tell() -> None:
    snapshot = replace(make_snapshot(samples=80, classes=2), attributes={})
    findings = found(snapshot)
    undefined = {key for key, value in findings.scalars.items() if math.isnan(value)}
    assert undefined == {
        *("collapse/nc2_equinorm", "collapse/nc2_equiangle"),
        # Judged by the other classes, of which there is one.
        *("sing/leaking_classes", "sing/class_deviation"),
        "head/drift",
        # Two templates have one pair, and no reference here.
        *(key for key in findings.scalars if key.startswith("hierarchy/")),
    } - {"hierarchy/clusters", "hierarchy/errors"}


def test_a_row_of_the_head_is_half_of_a_binary_answer() -> None:
    """Two rows of opposite sign span one direction; with one more, of a constant, two."""
    weight = normal(1, 12, seed=3)
    snapshot = make_snapshot(samples=80, classes=2)
    opposite = replace(snapshot, weight=torch.cat([weight, -weight]))
    scalars = found(opposite).scalars
    assert scalars["head/null_dim"] == 11
    assert math.isfinite(scalars["sing/image_score_centered"])
    assert replace(snapshot, invariance="softmax").geometry.null_dim == 11
    assert reorder(opposite, torch.arange(79, -1, -1)).accuracy == opposite.accuracy
