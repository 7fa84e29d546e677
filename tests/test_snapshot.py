from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.snapshot import Snapshot, hex_id, hex_ids
from sing_monitor.space.text_embeddings import Texts, TextSet
from sing_monitor.translate.random_subspaces import RANDOM_DRAWS, chosen_draw
from tests.helpers import make_snapshot, normal, reorder

FIELDS = ("weight", "features", "labels")
OPTIONAL = ("bias", "embeddings", "image_ids", "groups", "sample_index", "thumbnails")


def same(a: Tensor | None, b: Tensor | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and torch.equal(a, b)


def assert_same(loaded: Snapshot, saved: Snapshot) -> None:
    for name in (*FIELDS, *OPTIONAL):
        assert same(getattr(loaded, name), getattr(saved, name)), name
    assert loaded.class_names == saved.class_names
    assert (loaded.epoch, loaded.step) == (saved.epoch, saved.step)
    assert loaded.attributes.keys() == saved.attributes.keys()
    for name, (labels, values) in saved.attributes.items():
        assert same(loaded.attributes[name][0], labels)
        assert loaded.attributes[name][1] == values
    assert by_kind(loaded.texts).keys() == by_kind(saved.texts).keys()
    for kind, texts in by_kind(saved.texts).items():
        assert by_kind(loaded.texts)[kind].names == texts.names
        assert same(by_kind(loaded.texts)[kind].embeddings, texts.embeddings)


def by_kind(texts: Texts | None) -> dict[str, TextSet]:
    if texts is None:
        return {}
    found = {"classes": texts.classes, **texts.attributes}
    return found if texts.concepts is None else {**found, "concepts": texts.concepts}


def full() -> Snapshot:
    snapshot = make_snapshot(samples=6)
    return replace(
        snapshot,
        weight=snapshot.weight.bfloat16(),
        features=snapshot.features.bfloat16(),
        embeddings=snapshot.embeddings.half(),
        thumbnails=torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8),
        class_names=("naïve café", "猫", "a/b: {c}", ""),
        attributes={
            **snapshot.attributes,
            "texture": (torch.tensor([0, 1, 0, 1, 0, 1]), ("gestreift ≠ kariert", "punktiert")),
        },
        texts=Texts(
            TextSet(("a cat", "猫", "", "a/b"), normal(4, 8, seed=1)),
            TextSet(("rot", "rot"), normal(2, 8, seed=2)),
            {"texture": TextSet(("gestreift", "punktiert"), normal(2, 8, seed=3))},
        ),
    )


def bare() -> Snapshot:
    return replace(
        make_snapshot(samples=5),
        bias=None,
        image_ids=None,
        sample_index=None,
        attributes={},
        epoch=0,
        step=0,
    )


def spaceless() -> Snapshot:
    return replace(full(), embeddings=None, texts=None)


def grouped() -> Snapshot:
    return replace(full(), groups=torch.tensor([-7, 2**62, -7, 5, 5, 5]))


@pytest.mark.parametrize("make", [full, bare, spaceless, grouped])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_snapshot_survives_its_file(make, as_text: bool, tmp_path) -> None:
    snapshot, path = make(), tmp_path / "snapshot.safetensors"
    snapshot.save(str(path) if as_text else path)
    assert_same(Snapshot.load(str(path) if as_text else path), snapshot)


def test_only_a_file_without_embeddings_asks_for_a_newer_version(tmp_path) -> None:
    path = tmp_path / "snapshot.safetensors"
    for snapshot, schema in ((full(), "3"), (spaceless(), "4")):
        snapshot.save(path)
        with safe_open(path, framework="pt") as file:
            assert file.metadata()["schema"] == schema
            assert ("embeddings" in file.keys()) == (schema == "3")  # noqa: SIM118


def test_a_file_with_groups_asks_for_a_version_that_knows_them(tmp_path) -> None:
    """An older one would take them for an argument that it does not know."""
    path = tmp_path / "snapshot.safetensors"
    for snapshot in (grouped(), replace(grouped(), embeddings=None, texts=None)):
        snapshot.save(path)
        with safe_open(path, framework="pt") as file:
            assert file.metadata()["schema"] == "5"


def test_a_snapshot_without_a_space_says_so_where_embeddings_are_needed() -> None:
    snapshot = spaceless()
    assert snapshot.geometry.rank == 4
    assert 0 <= snapshot.accuracy <= 1
    with pytest.raises(ValueError, match="holds no image embeddings"):
        snapshot.known_embeddings  # noqa: B018
    with pytest.raises(ValueError, match="holds no image embeddings"):
        replace(snapshot, texts=full().texts)


def test_images_without_fingerprints_are_numbered() -> None:
    assert torch.equal(full().ids, full().image_ids)
    assert bare().ids.tolist() == [0, 1, 2, 3, 4]


def test_views_and_shared_tensors_can_be_saved(tmp_path) -> None:
    snapshot = make_snapshot(samples=8)
    both = torch.cat([snapshot.features, snapshot.embeddings], dim=1)
    snapshot = replace(
        snapshot,
        weight=snapshot.weight.T.contiguous().T.requires_grad_(),
        features=both[:, :12],
        embeddings=both[:, 12:],
        sample_index=snapshot.image_ids,
        attributes={"digit": (snapshot.labels, snapshot.class_names)},
    )
    snapshot.save(tmp_path / "shared.safetensors")
    assert_same(Snapshot.load(tmp_path / "shared.safetensors"), snapshot)


def test_the_rank_of_a_half_precision_head_survives_its_file(tmp_path) -> None:
    product = make_snapshot(classes=10, feature_dim=64).weight[:, :5] @ normal(5, 64, seed=1)
    snapshot = replace(make_snapshot(classes=10, feature_dim=64), weight=product.to(torch.bfloat16))
    snapshot.save(tmp_path / "half.safetensors")
    assert Snapshot.load(tmp_path / "half.safetensors").geometry.rank == 5


def test_the_null_space_follows_the_invariance_also_from_a_file(tmp_path) -> None:
    snapshot, path = replace(make_snapshot(), invariance="softmax"), tmp_path / "s.safetensors"
    snapshot.save(path)
    loaded = Snapshot.load(path)
    assert loaded.invariance == "softmax"
    assert loaded.geometry.null_dim == snapshot.geometry.null_dim == 9
    assert replace(loaded, invariance="logits").geometry.null_dim == 8
    with pytest.raises(ValueError, match="expected 'logits' or 'softmax'"):
        replace(snapshot, invariance="argmax")


def test_texts_of_another_space_or_number_are_refused() -> None:
    for shape in ((4, 7), (3, 8)):
        texts = Texts(TextSet(tuple("abcd"[: shape[0]]), normal(*shape, seed=0)))
        with pytest.raises(ValueError, match="class texts"):
            replace(make_snapshot(), texts=texts)


def test_a_file_of_the_first_schema_is_read_as_one_of_the_logits(tmp_path) -> None:
    path = tmp_path / "old.safetensors"
    snapshot = make_snapshot()
    snapshot.save(path)
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), "schema": "1"}
    del metadata["invariance"]
    save_file(load_file(path), path, metadata)
    assert_same(Snapshot.load(path), snapshot)


def test_another_schema_is_refused(tmp_path) -> None:
    path = tmp_path / "future.safetensors"
    make_snapshot().save(path)
    save_file(load_file(path), path, {"schema": "999", "class_names": json.dumps(["a"])})
    with pytest.raises(ValueError, match="schema 999, this version reads 1, 2, 3"):
        Snapshot.load(path)


def test_a_safetensors_file_of_other_origin_is_refused(tmp_path) -> None:
    save_file({"weight": torch.ones(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="schema None, this version reads 1, 2, 3"):
        Snapshot.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", [b"", b"not a snapshot", b"\xff" * 64])
def test_a_garbage_file_is_refused(content: bytes, tmp_path) -> None:
    path = tmp_path / "garbage.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"garbage\.safetensors is not a readable snapshot"):
        Snapshot.load(path)


def test_a_truncated_file_is_refused(tmp_path) -> None:
    path = tmp_path / "half.safetensors"
    make_snapshot().save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a readable snapshot"):
        Snapshot.load(path)


def test_a_missing_file_is_missing(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        Snapshot.load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weight", torch.ones(12), r"\(classes, features\) matrix"),
        ("weight", torch.ones(4, 12, 1, 1), r"\(classes, features\) matrix"),
        ("weight", torch.ones(4, 11), r"features has shape \(60, 12\), expected \(60, 11\)"),
        ("weight", torch.ones(5, 12), r"bias has shape \(4,\), expected \(5,\)"),
        ("bias", torch.ones(5), r"bias has shape \(5,\), expected \(4,\)"),
        ("features", torch.ones(60, 12, 1), r"features has shape \(60, 12, 1\)"),
        ("features", torch.ones(59, 12), r"labels has shape \(60,\), expected \(59,\)"),
        ("labels", torch.ones(60, 4), r"labels has shape \(60, 4\), expected \(60,\)"),
        ("labels", torch.ones(60), "labels must be int64, got torch.float32"),
        ("labels", torch.full((60,), 4), "labels must be 0 to 3; 60 of 60 are not"),
        ("labels", torch.arange(60) % 4 - 1, r"15 of 60 are not, for example -1"),
        ("embeddings", torch.ones(60), r"embeddings has shape \(60,\)"),
        ("embeddings", torch.ones(61, 8), r"embeddings has shape \(61, 8\), expected \(60, 8\)"),
        ("image_ids", torch.arange(3), r"image_ids has shape \(3,\)"),
        ("groups", torch.arange(3), r"groups has shape \(3,\)"),
        ("groups", torch.arange(60.0), "groups must be int64, got torch.float32; .*group_codes"),
        ("sample_index", torch.arange(3), r"sample_index has shape \(3,\)"),
        ("thumbnails", torch.ones(60, 3, 64, 64), r"expected \(60, 64, 64, 3\)"),
        ("class_names", ("a", "b"), "4 classes, but 2 names"),
        ("attributes", {"ink": (torch.zeros(3).long(), ("x",))}, r"attribute 'ink' has shape"),
        (
            "attributes",
            {"ink": (torch.arange(60) % 2, ("x",))},
            "labels of attribute 'ink' must be 0 to 0; 30 of 60",
        ),
    ],
)
def test_a_field_that_does_not_fit_is_refused(field: str, value, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(make_snapshot(), **{field: value})


def test_what_follows_from_the_fields() -> None:
    snapshot = Snapshot(
        weight=torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        bias=torch.tensor([0.0, 0.5]),
        features=torch.tensor([[1.0, 0.0, 9.0], [0.0, 1.0, 9.0], [0.4, 0.0, 9.0]]),
        labels=torch.tensor([0, 1, 0]),
        embeddings=torch.ones(3, 2),
        class_names=("left", "right"),
    )
    assert len(snapshot) == 3
    assert snapshot.logits.dtype == torch.float32
    torch.testing.assert_close(
        snapshot.logits, torch.tensor([[1, 0.5], [0, 1.5], [0.4, 0.5]]), check_dtype=False
    )
    assert snapshot.predictions.tolist() == [0, 1, 1]
    assert snapshot.accuracy == pytest.approx(2 / 3)
    assert snapshot.geometry.null_dim == 1
    assert replace(snapshot, bias=None).accuracy == 1


def test_folds_follow_the_fingerprint() -> None:
    ids = torch.tensor([-1, -2, 2**63 - 1, -(2**63), 7])
    snapshot = replace(make_snapshot(samples=5), image_ids=ids)
    assert snapshot.folds.tolist() == [1, 0, 1, 0, 1]
    assert [snapshot.fold_of(each) for each in (-1, -2, 8)] == [1, 0, None]
    assert replace(snapshot, image_ids=None).fold_of(1) is None


@pytest.mark.parametrize("classes", [2, 3, 4, 10, 64])
def test_without_fingerprints_folds_have_nothing_to_do_with_classes_in_turn(classes: int) -> None:
    """Each class has its share in both folds, also where classes come in rotation or in blocks."""
    samples = 200 * classes
    snapshot = replace(make_snapshot(samples=samples, classes=classes), image_ids=None)
    first = snapshot.folds == 0
    for labels in (snapshot.labels, snapshot.labels.sort().values):
        shares = labels[first].bincount(minlength=classes) / 200
        # Four and a half standard errors of a fair coin that is tossed 200 times.
        assert (shares - 0.5).abs().max() < 0.16
        draws = chosen_draw(snapshot.draws[labels == 0])
        assert len(draws.unique()) > 0.4 * RANDOM_DRAWS


def test_folds_hold_groups_together() -> None:
    snapshot = make_snapshot(samples=600)
    groups = torch.arange(600) // 4
    folds = replace(snapshot, groups=groups).folds.view(150, 4)
    assert (folds == folds[:, :1]).all()
    assert 0.3 < float(folds.double().mean()) < 0.7
    # Neither the order of the images nor what else is there changes the fold of a group.
    order = torch.randperm(600, generator=torch.Generator().manual_seed(0))[:300]
    some = replace(reorder(snapshot, order), groups=groups[order])
    assert torch.equal(some.folds, folds.flatten()[order])


def test_uneven_groups_leave_no_half_with_a_few_images() -> None:
    sizes = torch.tensor([200, 80, 60, 30, 20, 10])
    snapshot = make_snapshot(samples=400)
    for first in range(50):
        groups = (first + torch.arange(6)).repeat_interleave(sizes)
        folds = replace(snapshot, groups=groups).folds
        assert 133 <= int(folds.sum()) <= 267
        assert all(len(folds[groups == group].unique()) == 1 for group in groups.unique())


def test_two_groups_or_more_fill_both_folds() -> None:
    snapshot = make_snapshot(samples=6)
    for first in range(40):
        for count in (2, 3, 6):
            groups = first + torch.arange(6) % count
            assert replace(snapshot, groups=groups).folds.unique().tolist() == [0, 1]
    assert len(replace(snapshot, groups=torch.zeros(6).long()).folds.unique()) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bias_that_is_no_number_predicts_nothing(value: float) -> None:
    snapshot = make_snapshot()
    assert snapshot.bias is not None
    bias = snapshot.bias.index_fill(0, torch.tensor(2), value)
    with pytest.raises(ValueError, match="the head's bias holds NaN or infinite entries"):
        replace(snapshot, bias=bias).accuracy  # noqa: B018
    # Minus infinity takes a class out.
    without = replace(snapshot, bias=snapshot.bias.index_fill(0, torch.tensor(2), -math.inf))
    assert 2 not in without.predictions
    assert torch.equal(without.predictions, without.logits.argmax(dim=1))


def test_image_ids_are_the_same_digits_one_by_one_and_together() -> None:
    ids = [0, 255, -1, 2**63 - 1, -(2**63)]
    assert hex_ids(torch.tensor(ids)) == [hex_id(each) for each in ids]
    assert hex_ids(torch.tensor(ids))[1:3] == ["00000000000000ff", "ffffffffffffffff"]
    assert hex_ids(torch.tensor([], dtype=torch.int64)) == []


def test_some_of_the_images_keep_the_head_and_all_that_is_known_of_them() -> None:
    snapshot = full()
    rows = torch.tensor([4, 1])
    taken = snapshot.take(rows)
    assert len(taken) == 2
    for name in ("weight", "bias"):
        assert same(getattr(taken, name), getattr(snapshot, name))
    for name in ("features", "labels", "embeddings", "image_ids", "sample_index", "thumbnails"):
        assert same(getattr(taken, name), getattr(snapshot, name)[rows]), name
    for name, (labels, values) in snapshot.attributes.items():
        assert same(taken.attributes[name][0], labels[rows])
        assert taken.attributes[name][1] == values
    assert taken.texts is snapshot.texts
    assert snapshot.take(rows[:0]).features.shape == (0, snapshot.weight.shape[1])


def test_maps_and_hierarchy_come_back_from_the_file(tmp_path: Path) -> None:
    snapshot = replace(
        make_snapshot(samples=6),
        image_ids=torch.arange(6),
        class_names=("a", "b", "c", "d"),
        maps=FeatureMaps(torch.tensor([4, 1]), torch.randn(2, 5, 3, 2).bfloat16(), "layer4"),
        hierarchy={"a": ("x", "y"), "b": ("x",), "c": (), "d": ("z",)},
    )
    snapshot.save(tmp_path / "s.safetensors")
    loaded = Snapshot.load(tmp_path / "s.safetensors")
    assert loaded.maps is not None
    assert snapshot.maps is not None
    assert same(loaded.maps.values, snapshot.maps.values)
    assert same(loaded.maps.image_ids, snapshot.maps.image_ids)
    assert (loaded.maps.layer, loaded.maps.grid) == ("layer4", (3, 2))
    assert loaded.hierarchy == snapshot.hierarchy
    # Versions that know no maps refuse the file.
    assert schema_of(tmp_path / "s.safetensors") == "6"
    with pytest.raises(ValueError, match="image_ids"):
        replace(snapshot, image_ids=None)
    with pytest.raises(ValueError, match="every class"):
        replace(snapshot, hierarchy={"a": ()})


def schema_of(path: Path) -> str:
    with safe_open(path, framework="pt") as file:
        return file.metadata()["schema"]


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 5, 3, 3, 1)])
def test_maps_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(M, c, h, w\)"):
        FeatureMaps(torch.arange(2), torch.randn(shape))
    with pytest.raises(ValueError, match="image_ids"):
        FeatureMaps(torch.arange(3), torch.randn(2, 5, 3, 3))
