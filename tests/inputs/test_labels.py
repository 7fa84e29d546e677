from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sing_monitor.errors import SetupError
from sing_monitor.inputs.batches import Batch, unpack_batch
from sing_monitor.inputs.labels import check_attribute, check_labels

IMAGES = torch.zeros(3, 3, 2, 2)
LABELS = torch.tensor([2, 0, 1, 2])


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [([1, 3], 3), ([0, 1, 255], 255), ([-2, 2], -2), ([-100, 900], 900), ([-255, 7, -1], -255)],
)
def test_labels_outside_the_head(labels: list[int], wrong: int) -> None:
    with pytest.raises(SetupError) as caught:
        check_labels(torch.tensor(labels), 3)
    for sentence in (f"is {wrong},", "C=3 outputs", "0..2", "batch_adapter"):
        assert sentence in str(caught.value)


@pytest.mark.parametrize("largest", [3, 10])
def test_a_head_that_lacks_one_output_may_be_ordinal(largest: int) -> None:
    with pytest.raises(SetupError) as caught:
        check_labels(torch.arange(largest + 1), largest)
    for sentence in (
        f"a label of the validation data is {largest},",
        f"these lie in 0..{largest}",
        "ordinal head",
        "no row for each class",
    ):
        assert sentence.lower() in str(caught.value).lower()
    assert "subtract" not in str(caught.value)


def test_labels_that_count_from_1_are_mended_as_the_message_says() -> None:
    with pytest.raises(SetupError) as caught:
        check_labels(torch.tensor([1, 2, 3]), 3)
    assert "these lie in 1..3" in str(caught.value)
    assert "batch_adapter=lambda batch: Batch(images=..., labels=... - 1)" in str(caught.value)
    check_labels(unpack_batch((IMAGES, torch.tensor([1, 2, 3])), minus_one).labels, 3)


def minus_one(batch: Any) -> Batch:
    return Batch(images=batch[0], labels=batch[1] - 1)


@pytest.mark.parametrize("labels", [[0, 2, 1], [2], [], [-1, 2], [-100, -1]])
def test_labels_inside_the_head(labels: list[int]) -> None:
    check_labels(torch.tensor(labels, dtype=torch.int64), 3)


@pytest.mark.parametrize(
    ("values", "range_"), [(LABELS, "from 0 to 2, but 2 value"), (LABELS - 1, "from -1 to 1")]
)
def test_values_of_an_attribute_without_a_name(values: Tensor, range_: str) -> None:
    with pytest.raises(SetupError, match=f"'colour' has indices {range_}"):
        check_attribute("colour", values, ["red", "green"])


def test_values_of_an_attribute_with_names() -> None:
    check_attribute("colour", LABELS, ["red", "green", "blue"])
    check_attribute("colour", LABELS[:0], ["red"])
