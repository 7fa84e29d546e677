"""Groups of images get the same numbers in every process, and what is no group is refused."""

from __future__ import annotations

import datetime
import enum
import math
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sing_monitor.errors import SetupError
from sing_monitor.inputs.groups import find_group, group_codes
from tests.helpers.devices import DEVICES


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


VALUES = (
    *("anna", "bert", "", "1", b"1", 1, 2, -1, 2**63, 1.5, math.inf, ("1",), (1, "a"), (1, ("a",))),
    *(frozenset({1}), Side.LEFT, Side.RIGHT, PurePosixPath("a/1.png"), datetime.date(2026, 1, 2)),
)


def test_the_number_of_a_group_is_the_same_in_every_process() -> None:
    # What other processes have found, with other salts of Python's hashes.
    assert group_codes(["anna", 7, ("ward 3", 12)], 3).tolist() == [
        *(51958173930231292, 8360697188923789789, -7210782542033697657)
    ]
    assert group_codes([frozenset({"b", "a"})], 1).tolist() == [7764149700091415936]


def test_every_group_has_a_number_of_its_own() -> None:
    codes = group_codes(VALUES, len(VALUES))
    assert codes.dtype == torch.int64
    assert len(codes.unique()) == len(VALUES)
    assert torch.equal(group_codes(VALUES[::-1], len(VALUES)), codes.flip(0))


@pytest.mark.parametrize(
    "given",
    [
        [3, 1, 3, 0],
        (3.0, True, np.int64(3), False),
        range(4),
        torch.tensor([3, 1, 3, 0]),
        torch.tensor([[3], [1], [3], [0]], dtype=torch.uint8),
        [torch.tensor(3), torch.tensor(1), torch.tensor([3]), torch.tensor(0)],
        np.array([3, 1, 3, 0]),
        pd.Series([3, 1, 3, 0], index=[7, 5, 3, 1]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_equal_numbers_are_one_group_in_whatever_they_come(given: Any) -> None:
    expected = [0, 1, 2, 3] if isinstance(given, range) else [3, 1, 3, 0]
    assert torch.equal(group_codes(given, 4), group_codes(expected, 4))


def test_texts_of_an_array_are_texts() -> None:
    assert torch.equal(group_codes(np.array(["a", "b"]), 2), group_codes(["a", "b"], 2))


@pytest.mark.parametrize("device", DEVICES)
def test_groups_in_a_tensor_stay_on_its_device(device: str) -> None:
    codes = group_codes(torch.tensor([3, 1], device=device), 2)
    assert codes.device.type == device
    assert codes.tolist() == group_codes([3, 1], 2).tolist()


def test_either_half_gets_as_many_groups() -> None:
    for groups in (range(4000), range(0, 8000, 2), [f"patient {i}" for i in range(4000)]):
        bits = group_codes(groups, 4000) & 1
        # Six standard errors of a fair coin.
        assert float(bits.double().mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("given", "sentences"),
    [
        (["a", "b"], ["these are 2", "for each of the 3 images"]),
        (torch.arange(4), ["Tensor int64 (4,)", "B=3 images"]),
        (torch.zeros(3, 2).long(), ["Tensor int64 (3, 2)", "B=3 images"]),
        (torch.zeros(3), ["Tensor float32 (3,)", "whole numbers", ".long()"]),
        ("abc", ["The groups are str", "no sequence"]),
        (7, ["The groups are int", "no sequence"]),
        ({"a", "b", "c"}, ["The groups are set", "no sequence"]),
        (["a", ["b"], "c"], ["One of the groups is list", "unhashable"]),
        (["a", {"b": 1}, "c"], ["One of the groups is dict", "unhashable"]),
        (["a", None, "c"], ["None is no group", "a group of its own", "file name"]),
        ([1.0, math.nan, 2.0], ["nan is no group"]),
        ([1, (2, None), 3], ["None is no group"]),
        (["a", object(), "c"], ["object has no text of its own", "every process"]),
    ],
    ids=lambda each: each[0] if isinstance(each, list) and " " in str(each[0]) else "",
)
def test_what_is_no_group_is_refused_with_what_was_given(given: Any, sentences: list[str]) -> None:
    with pytest.raises(SetupError) as caught:
        group_codes(given, 3)
    for sentence in (
        *sentences,
        "batch_adapter=lambda batch: Batch(images=..., labels=..., group=",
    ):
        assert sentence in str(caught.value)


class Sample:
    patient = ("a", "b")


def test_groups_are_found_by_their_name() -> None:
    assert find_group({"image": 0, "patient": [1, 2]}, "patient") == [1, 2]
    assert find_group(Sample(), "patient") == ("a", "b")


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ({"image": torch.zeros(1), "label": 0}, "the batch has the keys 'image', 'label'"),
        ({"patient": None}, "the batch has the keys 'patient'"),
        ({}, "the batch has the keys none"),
        ((torch.zeros(2), 1), "the batch is tuple with [Tensor float32 (2,), int]"),
        (Sample(), "the batch is Sample"),
    ],
)
def test_a_name_that_the_batch_lacks_is_refused(batch: Any, sentence: str) -> None:
    name = "count" if isinstance(batch, (tuple, Sample)) else "patient"
    with pytest.raises(SetupError, match=f"groups='{name}' names what tells the group") as caught:
        find_group(batch, name)
    assert sentence in str(caught.value)
