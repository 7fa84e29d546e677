"""What a batch means: accepted shapes, refused ones with their sentence, label checks."""

from __future__ import annotations

from collections import UserDict, namedtuple
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from sing_monitor.errors import SetupError
from sing_monitor.inputs.batches import (
    Batch,
    unpack_batch,
)
from sing_monitor.inputs.groups import group_codes

IMAGES = torch.arange(4 * 3 * 2 * 2, dtype=torch.float32).reshape(4, 3, 2, 2)
LABELS = torch.tensor([2, 0, 1, 2])
INDEX = torch.arange(4)


@dataclass
class Sample:
    pixel_values: Tensor
    target: Tensor


@dataclass
class Patients:
    image: Tensor
    label: Tensor
    who: list[str]


LabelFirst = namedtuple("LabelFirst", ["label", "image"])
Unnamed = namedtuple("Unnamed", ["x", "y"])


def same(batch: Batch) -> bool:
    return torch.equal(batch.images, IMAGES) and torch.equal(batch.labels, LABELS)


@pytest.mark.parametrize(
    "batch",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS],
        (IMAGES, LABELS, INDEX, "more"),
        Batch(IMAGES, LABELS),
        Sample(IMAGES, LABELS),
        LabelFirst(LABELS, IMAGES),
        Unnamed(IMAGES, LABELS),
        UserDict(pixel_values=IMAGES, labels=LABELS),
        {"image": IMAGES, "images": None, "label": LABELS, "id": INDEX},
        {"label": LABELS, "labels": LABELS, "images": IMAGES},
        *({name: IMAGES, "label": LABELS} for name in ("image", "images", "pixel_values")),
        *({"image": IMAGES, name: LABELS} for name in ("label", "labels", "target", "targets")),
    ],
)
def test_accepts_usual_batches(batch: Any) -> None:
    assert same(unpack_batch(batch))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LABELS.to(torch.int32), LABELS),
        (LABELS.to(torch.uint8), LABELS),
        (LABELS[:, None], LABELS),
        (LABELS > 0, torch.tensor([1, 0, 1, 1])),
    ],
)
def test_labels_become_int64_indices(labels: Tensor, expected: Tensor) -> None:
    result = unpack_batch((IMAGES, labels)).labels
    assert result.dtype == torch.int64
    assert torch.equal(result, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_pass_untouched(dtype: torch.dtype, channels: int) -> None:
    images = IMAGES[:, :channels].to(dtype)
    assert unpack_batch((images, LABELS)).images is images


def test_last_batch_of_one_image_and_empty_batch() -> None:
    assert unpack_batch((IMAGES[:1], LABELS[:1, None])).labels.tolist() == [2]
    assert unpack_batch((IMAGES[:0], LABELS[:0])).labels.shape == (0,)


@pytest.mark.parametrize(
    ("batch", "sentences"),
    [
        (IMAGES, ["Tensor float32 (4, 3, 2, 2)", "batch_adapter=lambda batch: Batch("]),
        (None, ["The batch is NoneType", "(images, labels, ...)"]),
        ("cat", ["The batch is str"]),
        ((IMAGES,), ["tuple with [Tensor float32 (4, 3, 2, 2)]", "batch_adapter"]),
        (
            {"x": IMAGES, "label": LABELS},
            ["dict with ['x': Tensor float32 (4, 3, 2, 2), 'label': Tensor int64 (4,)]"],
        ),
        ({"image": IMAGES}, ["one of label, labels, target, targets"]),
        (
            {"image": IMAGES, "label": LABELS, "target": INDEX},
            ["several of label, labels, target, targets", "'target': Tensor int64 (4,)"],
        ),
        ((LABELS, IMAGES), ["Tensor int64 (4,)", "floating or uint8"]),
        ((IMAGES.permute(0, 2, 3, 1), LABELS), ["channels stand last", "permute(0, 3, 1, 2)"]),
        ((IMAGES[:, None], LABELS), ["five axes", "(4, 1, 3, 2, 2)"]),
        ((IMAGES[:, 0], LABELS), ["channel axis is missing", "unsqueeze(1)"]),
        ((IMAGES.flatten(1), LABELS), ["four axes"]),
        ((IMAGES[:, :2], LABELS), ["2 channels", "(4, 2, 2, 2)"]),
        ((torch.zeros(4, 4, 8, 8), LABELS), ["4 channels"]),
        ((IMAGES.long(), LABELS), ["floating or uint8"]),
        ((IMAGES > 0, LABELS), ["floating or uint8"]),
        (([IMAGES[0], IMAGES[1, :, :1]], LABELS[:2]), ["list with", "unequal size"]),
        ((IMAGES, LABELS.float()), ["multi-label or soft labels", "one class index", ".long()"]),
        (
            (IMAGES, (INDEX[:, None] > torch.arange(3)).float()),
            ["thresholds between 4 ordered classes", "no row for each class", ".sum(dim=1)"],
        ),
        ((IMAGES, torch.eye(4)), ["multi-label or soft labels", "(4, 4)", "one class index"]),
        ((IMAGES, torch.eye(4, dtype=torch.int64)), ["mixup", ".argmax(dim=1)"]),
        ((IMAGES, torch.eye(4).bool()), ["multi-label or soft labels"]),
        ((IMAGES, torch.zeros(4, 2, 2, dtype=torch.int64)), ["dense prediction"]),
        ((IMAGES, LABELS[:3]), ["Tensor int64 (3,)", "B=4 images"]),
        ((IMAGES, LABELS[0]), ["B=4 images"]),
        ((IMAGES, LABELS.tolist()), ["list with [int, int", "torch.tensor"]),
        ((IMAGES, {"a": LABELS}), ["dict with ['a': Tensor int64 (4,)]"]),
    ],
)
def test_refuses_with_what_was_seen(batch: Any, sentences: list[str]) -> None:
    with pytest.raises(SetupError) as caught:
        unpack_batch(batch)
    for sentence in sentences:
        assert sentence in str(caught.value)


COLOURS = {"colour": (torch.tensor([[0], [1], [1], [0]]), ["red", "green"])}


@pytest.mark.parametrize(
    ("adapter", "attributes"),
    [
        (lambda b: Batch(images=b["a"], labels=b["b"]), []),
        (lambda b: (b["a"], b["b"]), []),
        (lambda b: {"images": b["a"], "labels": b["b"]}, []),
        (lambda b: Batch(b["a"], b["b"], COLOURS), ["colour"]),
        (lambda b: (b["a"], b["b"], COLOURS), ["colour"]),
        (lambda b: {"image": b["a"], "target": b["b"], "attributes": COLOURS}, ["colour"]),
    ],
)
def test_adapter_results(adapter: Any, attributes: list[str]) -> None:
    batch = unpack_batch({"a": IMAGES, "b": LABELS}, adapter)
    assert same(batch)
    assert list(batch.attributes) == attributes
    for values, names in batch.attributes.values():
        assert torch.equal(values, torch.tensor([0, 1, 1, 0]))
        assert names == ("red", "green")


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (None, "What batch_adapter returned is NoneType"),
        ((IMAGES,), "What batch_adapter returned is tuple"),
        (Batch(IMAGES, LABELS.float()), "multi-label or soft labels"),
        ((IMAGES, LABELS, INDEX), "attributes of a batch are Tensor int64 (4,)"),
        ((IMAGES, LABELS, {"Colour": COLOURS["colour"]}), "use only a-z, 0-9 and _"),
        ((IMAGES, LABELS, {"colour\n": COLOURS["colour"]}), "use only a-z, 0-9 and _"),
        ((IMAGES, LABELS, {0: COLOURS["colour"]}), "attribute name 0"),
        ((IMAGES, LABELS, {"colour": LABELS}), "'colour' is Tensor int64 (4,); expected a pair"),
        ((IMAGES, LABELS, {"colour": (LABELS, "rgb")}), "expected a pair"),
        ((IMAGES, LABELS, {"colour": (LABELS, [])}), "expected a pair"),
        ((IMAGES, LABELS, {"colour": (LABELS, ["red", "", "blue"])}), "expected a pair"),
        ((IMAGES, LABELS, {"colour": (LABELS[:2], ["a", "b", "c"])}), "indices of attribute"),
    ],
)
def test_adapter_results_are_checked(result: Any, sentence: str) -> None:
    with pytest.raises(SetupError) as caught:
        unpack_batch((IMAGES, LABELS), lambda batch: result)
    assert sentence in str(caught.value)


PATIENTS = ["anna", "bert", "anna", "carl"]


@pytest.mark.parametrize(
    ("batch", "options"),
    [
        (Batch(IMAGES, LABELS, group=PATIENTS), {}),
        ((IMAGES, LABELS, PATIENTS), {"adapter": lambda b: Batch(b[0], b[1], group=b[2])}),
        (
            (IMAGES, LABELS),
            {"adapter": lambda b: {"image": b[0], "label": b[1], "group": PATIENTS}},
        ),
        ({"image": IMAGES, "label": LABELS, "who": PATIENTS}, {"groups": "who"}),
        # An adapter that takes the batch apart.
        (
            {"image": IMAGES, "label": LABELS, "who": PATIENTS},
            {"groups": "who", "adapter": lambda b: b.pop("who") and (b["image"], b["label"])},
        ),
        (Patients(IMAGES, LABELS, PATIENTS), {"groups": "who"}),
    ],
)
def test_groups_become_numbers(batch: Any, options: dict[str, Any]) -> None:
    found = unpack_batch(batch, **options)
    assert same(found)
    assert torch.equal(found.group, group_codes(PATIENTS, 4))


def test_a_batch_without_groups_has_none() -> None:
    assert unpack_batch((IMAGES, LABELS)).group is None
    assert unpack_batch({"image": IMAGES, "label": LABELS, "group": PATIENTS}).group is None


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ((IMAGES, LABELS), "groups='who' names what tells the group of each image, but the batch"),
        ({"image": IMAGES, "label": LABELS}, "has the keys 'image', 'label'"),
        ({"image": IMAGES, "label": LABELS, "who": PATIENTS[:3]}, "these are 3"),
    ],
)
def test_groups_that_are_missing_are_asked_for(batch: Any, sentence: str) -> None:
    with pytest.raises(SetupError) as caught:
        unpack_batch(batch, groups="who")
    assert sentence in str(caught.value)


def test_groups_are_told_once() -> None:
    batch = {"image": IMAGES, "label": LABELS, "who": PATIENTS}
    with pytest.raises(SetupError, match=r"groups='who' names another\. Give one of the two"):
        unpack_batch(batch, lambda b: Batch(b["image"], b["label"], group=PATIENTS), "who")


def test_a_copy_of_a_batch_has_numbers_of_its_own() -> None:
    colours = deepcopy(COLOURS)
    first = Batch(IMAGES.clone(), LABELS.clone(), colours, IMAGES.clone(), LABELS.clone())
    copy = first.copied()
    for tensor in (first.labels, first.pictures, first.group, first.attributes["colour"][0]):
        tensor.zero_()
    assert torch.equal(copy.labels, LABELS)
    assert torch.equal(copy.group, LABELS)
    assert torch.equal(copy.pictures, IMAGES)
    assert copy.attributes["colour"][0].tolist() == [[0], [1], [1], [0]]


def test_failing_adapter_is_named_with_its_batch() -> None:
    with pytest.raises(SetupError, match=r"KeyError: 'b'.*'a': Tensor") as caught:
        unpack_batch({"a": IMAGES}, lambda batch: batch["b"])
    assert isinstance(caught.value.__cause__, KeyError)
