"""Names of the classes: every source and its order, ImageNet's names, warnings and refusals."""

from __future__ import annotations

import warnings
from collections import UserDict, UserList
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
from omegaconf import OmegaConf
from PIL import Image
from timm.data import ImageNetInfo
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision.datasets import MNIST, FashionMNIST, ImageFolder, Imagenette

from sing_monitor.errors import SetupError
from sing_monitor.inputs.class_names import find_class_names
from sing_monitor.inputs.imagenet_names import imagenet_names

PETS = ("cat", "dog")


class Names(Dataset[Any]):
    """A data set, or a datamodule, with the given attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return 1


class NotReady:
    @property
    def classes(self) -> list[str]:
        raise RuntimeError("call setup() first")


def make_model(outputs: int = 2, **config: Any) -> nn.Module:
    model: Any = timm.create_model("resnet10t", num_classes=outputs)
    model.pretrained_cfg = {**model.pretrained_cfg, **config}
    return nn.ModuleDict({"any_name": nn.Sequential(model)})


def make_folder(root: Path, folders: list[str]) -> ImageFolder:
    for folder in folders:
        (root / folder).mkdir()
        Image.new("RGB", (2, 2)).save(root / folder / "0.png")
    return ImageFolder(root)


def quietly(*args: Any, **kwargs: Any) -> tuple[str, ...] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return find_class_names(*args, **kwargs).names


@pytest.mark.parametrize(
    "given", [PETS, list(PETS), np.array(PETS), {"dog": 1, "cat": 0}, [" cat\n", "dog "]]
)
def test_argument_comes_first(given: Any) -> None:
    found = find_class_names(given, 2, datamodule=Names(classes=["a", "b"]), model=make_model())
    assert found.names == PETS
    assert found.source == "class_names"


@pytest.mark.parametrize(
    "owner",
    [
        Names(class_names=PETS, classes=("a", "b")),
        Names(classes=list(PETS), class_to_idx={"a": 0, "b": 1}),
        Names(class_to_idx={"dog": np.int64(1), "cat": np.int64(0)}),
        Names(class_names=lambda: None, classes=2, class_to_idx={"cat": 0, "dog": 1}),
        Names(classes=[], class_to_idx={"cat": 0, "dog": 1}),
        Subset(Subset(Names(classes=PETS), [0]), [0]),
        ConcatDataset([Names(classes=PETS), Names(class_to_idx={"cat": 0, "dog": 1})]),
        Names(dataset=Names(classes=["a", "b", "c"]), classes=PETS),
    ],
)
def test_attributes_of_dataset_and_datamodule(owner: Any) -> None:
    assert quietly(None, 2, dataset=owner) == PETS
    assert quietly(None, 2, datamodule=owner, dataset=Names(classes=["x", "y"])) == PETS


def test_source_names_the_attribute() -> None:
    found = find_class_names(None, 2, dataset=Subset(Names(classes=PETS), [0]))
    assert found.source == "dataset.classes (Names)"


def test_property_that_is_not_ready_is_passed_over() -> None:
    assert quietly(None, 2, datamodule=NotReady(), dataset=Names(classes=PETS)) == PETS


def test_image_folder(tmp_path: Path) -> None:
    dataset = make_folder(tmp_path, ["polar_bear", "cat"])
    assert quietly(None, 2, dataset=dataset) == ("cat", "polar bear")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["aquarium_fish", "ice_cream_"], ("aquarium fish", "ice cream")),
        (["001.Black_footed_Albatross", "002.Crow"], ("Black footed Albatross", "Crow")),
        (["0 - zero", "1 - one"], ("zero", "one")),
        (["3 - 5 years", "6 - 9 years"], ("3 - 5 years", "6 - 9 years")),
        ([("tench", "Tinca tinca"), ("church",)], ("tench", "church")),
        (["Katze", "猫"], ("Katze", "猫")),
        (["A", "B"], ("A", "B")),
    ],
)
def test_names_become_words(given: Any, names: tuple[str, ...]) -> None:
    assert quietly(given, 2) == names


def test_torchvision_names() -> None:
    digits = quietly(None, 10, dataset=Names(classes=MNIST.classes))
    assert digits is not None
    assert " ".join(digits) == "zero one two three four five six seven eight nine"
    assert quietly(None, 10, dataset=Names(classes=FashionMNIST.classes)) == tuple(
        FashionMNIST.classes
    )


def test_wordnet_ids_of_imagenette(tmp_path: Path) -> None:
    lemmas = Imagenette._WNID_TO_CLASS
    expected = tuple(names[0] for names in lemmas.values())
    folder = make_folder(tmp_path, list(lemmas))
    assert quietly(None, 10, dataset=folder) == expected
    torchvision = Names(wnids=list(lemmas), classes=list(lemmas.values()))
    assert quietly(None, 10, dataset=torchvision) == expected
    assert quietly(list(lemmas), 10) == expected


def test_thousand_imagenet_names_are_distinct() -> None:
    ids = ImageNetInfo().label_names()
    names = imagenet_names(ids)
    assert list(names) == ids
    assert len(set(names.values())) == 1000
    assert names["n01440764"] == "tench"
    assert names["n03710721"] == "maillot (tank suit)"
    assert names["n03126707"] == "crane (lifts and moves heavy objects)"
    assert names["n02012849"].startswith("crane (large long-necked wading bird")
    assert sum("(" in name for name in names.values()) == 4


def test_a_subset_keeps_the_distinct_name() -> None:
    assert imagenet_names(["n03126707"])["n03126707"] == "crane (lifts and moves heavy objects)"


def test_wordnet_id_beyond_the_thousand() -> None:
    assert imagenet_names(["n00007846", "n99999999"]) == {"n00007846": "person"}


def test_pretrained_config_says_imagenet() -> None:
    found = find_class_names(None, 1000, model=make_model(1000, tag="in21k_ft_in1k"))
    assert found.names is not None
    assert (found.names[0], found.names[-1]) == ("tench", "toilet tissue")
    assert "in21k_ft_in1k" in found.source


def test_pretrained_config_with_label_names() -> None:
    model = make_model(label_names=["n01440764", "ice_cream"])
    assert quietly(None, 2, model=model) == ("tench", "ice cream")


@pytest.mark.parametrize(
    ("num_classes", "config"),
    [
        (10, {"tag": "a1_in1k"}),
        (1000, {"tag": "untrained"}),
        (1000, {"tag": "in12k", "num_classes": 11821}),
        (2, {"tag": "", "label_names": ["a", "b", "c"]}),
    ],
)
def test_nothing_found_is_said_once(num_classes: int, config: dict[str, Any]) -> None:
    model = make_model(num_classes, **config)
    with pytest.warns(UserWarning, match="class prototypes") as caught:
        found = find_class_names(None, num_classes, dataset=Names(), model=model)
    assert (found.names, found.source) == (None, "none found")
    assert len(caught) == 1


@pytest.mark.parametrize(
    "name",
    [
        "0",
        "",
        " ",
        "class_3",
        "LABEL_7",
        "n123",
        "n99999999",
        "-",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    ],
)
def test_names_that_are_no_words_warn_once(name: str) -> None:
    with pytest.warns(UserWarning, match=r"1 of 2 class names .* look like ids") as caught:
        find_class_names(["cat", name], 2)
    assert len(caught) == 1
    assert "class_names=[...]" in str(caught[0].message)


@pytest.mark.parametrize(
    "name", ["cat", "T-shirt/top", "Boeing 747", "facade", "A", "4 door car", "deadbeef"]
)
def test_words_do_not_warn(name: str) -> None:
    assert quietly(["owl", name], 2) == ("owl", name)


def test_shared_names_warn() -> None:
    with pytest.warns(UserWarning, match=r"share a name .*'ice cream'"):
        find_class_names(["ice_cream", "ice cream"], 2)


@pytest.mark.parametrize(
    ("given", "kwargs", "sentences"),
    [
        (["cat"], {}, ["class_names names 1 classes", "C=2", "class_names=[...]"]),
        ([], {}, ["names 0 classes"]),
        (None, {"dataset": Names(classes=["a", "b", "c"])}, ["dataset.classes (Names) names 3"]),
        (None, {"datamodule": Names(classes=["a"])}, ["datamodule.classes (Names) names 1"]),
        (["cat", 3], {}, ["holds 3 of type int"]),
        (None, {"dataset": Names(classes=[0, 1])}, ["dataset.classes", "holds 0 of type int"]),
        (["cat", ()], {}, ["holds () of type tuple"]),
        ("cat", {}, ["class_names is 'cat' (str)"]),
        ({"cat", "dog"}, {}, ["(set)", "list of names"]),
        ({"cat": 1, "dog": 2}, {}, ["maps 2 names to [1, 2]", "each index of 0..1 once"]),
        ({0: "cat", 1: "dog"}, {}, ["each index of 0..1 once"]),
        (
            None,
            {"dataset": Names(datasets=[Names(classes=PETS), Names(classes=("dog", "cat"))])},
            ["name their classes differently", "class_names=[...]"],
        ),
    ],
)
def test_refuses_with_what_was_seen(given: Any, kwargs: Any, sentences: list[str]) -> None:
    with pytest.raises(SetupError) as caught:
        find_class_names(given, 2, **kwargs)
    for sentence in sentences:
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        OmegaConf.create(list(PETS)),
        OmegaConf.create({"dog": 1, "cat": 0}),
        UserList(PETS),
        UserDict(dog=1, cat=0),
        pd.Index(PETS),
        pd.Series(PETS),
    ],
)
def test_any_sequence_and_mapping_will_do(given: Any) -> None:
    assert quietly(given, 2) == PETS
    assert quietly(None, 2, dataset=Names(classes=given)) == PETS


def test_a_range_is_no_list_of_names() -> None:
    assert quietly(None, 2, dataset=Names(classes=range(2), class_to_idx={"cat": 0, "dog": 1})) == (
        PETS
    )
