"""Names follow the labels through every target_transform, or class_names is asked for."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import seed_everything
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, StackDataset, Subset
from torchvision.datasets import EMNIST, ImageFolder
from torchvision.datasets.vision import StandardTransform
from torchvision.transforms import Lambda, ToTensor, v2

from sing_monitor.errors import SetupError
from sing_monitor.inputs.class_names import find_class_names
from tests.helpers import tiny

RAW = ("ant", "bee", "cow", "dog")
TURNED = RAW[::-1]
TABLE = {0: 2, 1: 0, 2: 3, 3: 1}
BY_TABLE = ("bee", "dog", "ant", "cow")


class Data(Dataset[Any]):
    """A data set with the attributes given."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return 4


class Around(Dataset[Any]):
    """A wrapper that relabels what it wraps."""

    def __init__(self, dataset: Any, target_transform: Any = None, **attributes: Any) -> None:
        self.dataset, self.target_transform = dataset, target_transform
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        image, label = self.dataset[index]
        return image, label if self.target_transform is None else self.target_transform(label)


class HandsOn(Dataset[Any]):
    """A wrapper that hands on every attribute of the data set inside."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["dataset"], name)


def turn(label: int) -> int:
    return 3 - label


def named(transform: Any, names: Any = RAW) -> Data:
    return Data(classes=names, target_transform=transform)


def names_of(data: Any, count: int = 4, **more: Any) -> Any:
    return find_class_names(None, count, dataset=data, **more).names


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (None, RAW),
        (lambda label: label, RAW),
        (int, RAW),
        (turn, TURNED),
        (TABLE.__getitem__, BY_TABLE),
        (lambda label: torch.tensor(3 - label), TURNED),
        (lambda label: np.int64(3 - label), TURNED),
        (lambda label: np.array(3 - label), TURNED),
        (lambda label: torch.tensor([3 - label]), TURNED),
        (lambda label: torch.eye(4)[3 - int(label)], TURNED),
        (lambda label: np.eye(4, dtype=np.int64)[3 - int(label)], TURNED),
        (lambda label: (3 - label).long(), TURNED),
        (Lambda(turn), TURNED),
        (v2.Lambda(turn), TURNED),
        (lambda name: TURNED.index(name), TURNED),
        ({name: i for i, name in enumerate(TURNED)}.__getitem__, TURNED),
    ],
)
def test_the_transform_of_a_data_set(transform: Any, expected: tuple[str, ...]) -> None:
    assert names_of(named(transform)) == expected
    assert names_of(Subset(named(transform), [0])) == expected
    assert names_of(HandsOn(named(transform))) == expected
    assert names_of(Data(class_to_idx={n: i for i, n in enumerate(RAW)}, target_transform=transform)
    ) == expected  # fmt: skip


def test_labels_that_count_from_one() -> None:
    letters = named(lambda label: label - 1, ["N/A", *RAW])
    assert names_of(letters) == RAW
    assert EMNIST.classes_split_dict["letters"][0] == "N/A"


@pytest.mark.parametrize("chosen", [{3: 0, 1: 1}.__getitem__, {3: 0, 1: 1}.get,
                                    lambda label: {3: 0, 1: 1}.get(label, -1)])  # fmt: skip
def test_classes_that_are_left_out(chosen: Callable[[int], Any]) -> None:
    assert names_of(Subset(named(chosen), [0]), 2) == ("dog", "bee")


def test_a_real_folder_with_real_labels(tmp_path: Path) -> None:
    for place, name in enumerate(RAW):
        (tmp_path / name).mkdir()
        Image.new("RGB", (12, 12), (40 + 50 * place,) * 3).save(tmp_path / name / "0.png")
    data = ImageFolder(str(tmp_path), ToTensor(), target_transform=turn)
    names = names_of(data)
    assert names == TURNED
    for image, label in data:
        assert names[label] == RAW[round((float(image.mean()) * 255 - 40) / 50)]
    report = tiny.callback().check(tiny.Classifier(), DataLoader(data, 4))
    assert "(ImageFolder), in the order of target_transform: dog, cow, bee, ant" in str(report)


def test_transforms_of_torchvision() -> None:
    data = Data(classes=RAW, transforms=StandardTransform(None, turn))
    assert names_of(data) == TURNED
    both = Data(classes=RAW, transforms=StandardTransform(None, turn), target_transform=turn)
    assert names_of(both) == TURNED


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (Around(named(None), turn), TURNED),
        (Around(named(turn), turn), RAW),
        (Around(Subset(named(TABLE.__getitem__), [0]), turn), BY_TABLE[::-1]),
        (Around(Around(named({3: 0, 1: 1}.__getitem__)), lambda y: 1 - y), ("bee", "dog")),
        (Around(named(None), None, classes=TURNED), TURNED),
        (Around(named(lambda label: label + 0), None, classes=RAW), RAW),
        (Around(Data(), turn, classes=RAW), TURNED),
        (ConcatDataset([named(turn), named(turn)]), TURNED),
        (ConcatDataset([named(turn), named(None, TURNED)]), TURNED),
        (ConcatDataset([named(None, RAW[:2]), named(lambda y: y + 2, RAW[2:])]), RAW),
        (StackDataset(named(turn), Data()), TURNED),
    ],
)
def test_wrappers_from_the_inside_out(data: Any, expected: tuple[str, ...]) -> None:
    assert names_of(data, len(expected)) == expected


def shuffled(label: int) -> int:
    return random.randrange(4)


REFUSED: dict[str, tuple[Any, int, str]] = {
    "merges": (named(lambda label: label // 2), 2, r"'ant' and 'bee' the same label 0"),
    "merges outside": (Around(named(turn), lambda y: y // 2), 2, r"the same label 0"),
    "leaves a gap": (named(lambda label: label + 1), 4, "the label 0 to none"),
    "random": (named(shuffled), 4, "other labels each time"),
    "random tensors": (named(lambda y: torch.randint(4, ())), 4, "other labels each time"),
    "other inputs": (named(lambda label, image: label), 4, "no class index"),
    "soft labels": (named(lambda y: 0.1 + 0.6 * torch.eye(4)[int(y)]), 4, "no class index"),
    "no integers": (named(float), 4, "no class index"),
    "nothing": (named(lambda label: None), 4, "no class index"),
    "copied names, inside under any name": (
        Data(classes=RAW, any_name=named(turn)), 4, "changes their order",
    ),
    "copied names": (Around(named(turn), None, classes=RAW), 4, "changes their order"),
    "names outside alone": (
        Around(Data(target_transform=turn), None, classes=RAW), 4, "changes their order",
    ),
    "the same transform twice": (Around(named(turn), turn, classes=RAW), 4, "changes their order"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "count", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_what_stays_open_is_asked_for(data: Any, count: int, reason: str) -> None:
    with pytest.raises(SetupError, match=reason) as caught:
        names_of(data, count)
    assert "class_names=" in str(caught.value)
    given = ["one", "two", "three", "four"][:count]
    assert find_class_names(given, count, dataset=data).names == tuple(given)


def test_parts_that_contradict_each_other() -> None:
    data = ConcatDataset([named(turn), named(None)])
    with pytest.raises(
        (MisconfigurationException, SetupError), match="name their classes differently"
    ):
        names_of(data)


def test_names_of_a_datamodule() -> None:
    module = Data(classes=RAW)
    assert names_of(Data(), datamodule=module) == RAW
    assert names_of(named(None), datamodule=module) == RAW
    assert names_of(named(lambda y: y - 1, ["N/A", *RAW]), datamodule=module) == RAW
    for inside in (named(turn), Subset(Data(target_transform=turn), [0])):
        with pytest.raises(SetupError, match="changes their order"):
            names_of(inside, datamodule=module)
    with pytest.raises(SetupError, match="changes their order"):
        names_of(Data(), datamodule=Data(classes=RAW, target_transform=turn))
    assert names_of(named(turn), datamodule=Data(classes=TURNED)) == TURNED
    soft = named(lambda label: 0.1 + 0.6 * torch.eye(4)[int(label)])
    assert names_of(soft, datamodule=module) == RAW
    held = named(None)
    assert names_of(Around(held, turn), datamodule=Data(dataset=held)) == TURNED
    assert names_of(None, datamodule=Data(dataset=named(turn), target_transform=turn)) == TURNED


def test_no_generator_moves() -> None:
    def noisy(label: int) -> int:
        return 3 - label + int(random.random() + np.random.rand() + torch.rand(())) // 3  # noqa: NPY002

    def draws() -> tuple[float, ...]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    seed_everything(1, verbose=False)
    assert names_of(named(noisy)) == TURNED
    after = draws()
    seed_everything(1, verbose=False)
    assert after == draws()


def test_images_are_not_touched() -> None:
    class Untouchable(Data):
        def __getitem__(self, index: int) -> Tensor:
            raise AssertionError("an image was loaded")

    assert names_of(Untouchable(classes=RAW, target_transform=turn)) == TURNED
