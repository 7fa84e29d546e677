"""Images of one object stay together, from the batch to the folds, and near copies are noticed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

import sing_monitor
from sing_monitor.inputs.batches import Batch
from sing_monitor.inputs.groups import group_codes
from sing_monitor.monitor.remarks import doubts_of_groups
from sing_monitor.offline.analyze import AnalyzedModel
from tests.helpers import tiny

COPIES = 3


class Photographs(Dataset[dict[str, Any]]):
    """Three photographs of each object that differ in the light."""

    classes = tiny.CLASSES

    def __init__(self, objects: int = 32) -> None:
        self.of = tiny.Blobs(objects)

    def __len__(self) -> int:
        return COPIES * len(self.of)

    def __getitem__(self, index: int) -> dict[str, Any]:
        which, light = divmod(index, COPIES)
        image, label = self.of[which]
        image = (image * (1 - 0.02 * light)).mul(255).round() / 255
        return {"image": image, "label": label, "object": f"object {which}"}


class OnDicts(tiny.Classifier):
    """A classifier whose batches are mappings."""

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val_loss", cross_entropy(self(batch["image"]), batch["label"]))


def loader(data: Dataset[Any] | None = None, **changes: Any) -> DataLoader[Any]:
    return DataLoader(Photographs() if data is None else data, **{"batch_size": 16, **changes})


def analyze(data: DataLoader[Any], **changes: Any) -> tuple[AnalyzedModel, list[str]]:
    """The findings, and the warnings about copies."""
    arguments = {"space": tiny.HashSpace(), "cache_dir": None, "concepts": []}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = sing_monitor.analyze(tiny.Classifier(), data, **{**arguments, **changes})
    said = [str(each.message) for each in caught]
    return found, [each for each in said if "near copy" in each]


def test_near_copies_are_noticed_and_the_cure_is_named() -> None:
    found, (said,) = analyze(loader())
    # Of two other photographs, each lies in the other fold by the toss of a coin.
    assert found.scalars["monitor/near_copies"] == pytest.approx(0.75, abs=0.15)
    assert f"{found.scalars['monitor/near_copies']:.0%} of the images have a near copy" in said
    assert 'Batch(..., group=...) from batch_adapter, or groups="patient_id"' in said


def test_groups_keep_the_photographs_of_an_object_together() -> None:
    found, said = analyze(loader(), groups="object")
    assert said == []
    assert found.scalars["monitor/near_copies"] == 0
    snapshot = found.snapshot
    assert snapshot.groups is not None
    which = snapshot.sample_index // COPIES
    names = [f"object {each}" for each in which.tolist()]
    assert torch.equal(snapshot.groups, group_codes(names, len(names)))
    folds = torch.zeros(32, 2).index_put_(
        (which, snapshot.folds), torch.ones(len(which)), accumulate=True
    )
    assert sorted(folds.unique().tolist()) == [0, COPIES]
    assert found.tables["images"]["fold"].tolist() == snapshot.folds.tolist()


def test_groups_that_are_too_small_are_said_to_be() -> None:
    class Numbered(Photographs):
        def __getitem__(self, index: int) -> dict[str, Any]:
            return {**super().__getitem__(index), "object": index}

    _, (said,) = analyze(loader(Numbered()), groups="object")
    assert "The groups of the batches do not hold them together" in said


def test_the_order_and_the_size_of_batches_change_nothing() -> None:
    one, _ = analyze(loader(), groups="object")
    order = torch.randperm(96, generator=torch.Generator().manual_seed(1)).tolist()
    other, _ = analyze(loader(batch_size=7, sampler=order), groups="object")
    assert torch.equal(one.snapshot.image_ids, other.snapshot.image_ids)
    assert torch.equal(one.snapshot.folds, other.snapshot.folds)
    for key, value in one.scalars.items():
        assert other.scalars[key] == pytest.approx(value, rel=1e-4, abs=1e-5, nan_ok=True), key


def test_an_adapter_may_hand_groups_over() -> None:
    def adapter(batch: dict[str, Any]) -> Batch:
        numbers = torch.tensor([int(each.split()[1]) for each in batch["object"]])
        return Batch(batch["image"], batch["label"], group=numbers)

    by_adapter, said = analyze(loader(), batch_adapter=adapter)
    assert said == []
    assert by_adapter.scalars["monitor/near_copies"] == 0


def fit(folder: Path, data: DataLoader[Any], **options: Any) -> dict[str, Tensor]:
    run = tiny.trainer(folder, tiny.callback(**options))
    train = loader(tiny.Blobs(32))
    run.fit(OnDicts(), train, data)
    return run.callback_metrics


def test_a_training_warns_once(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="have a near copy") as caught:
        metrics = fit(tmp_path, loader())
    assert float(metrics["monitor/near_copies"]) > 0.5
    assert len([each for each in caught if "have a near copy" in str(each.message)]) == 1


@pytest.mark.parametrize("groups", [None, "object"])
def test_the_report_of_a_set_up_says_whether_images_have_groups(groups: str | None) -> None:
    report = tiny.callback(groups=groups).check(OnDicts(), loader())
    expected = "none: each image stands for itself" if groups is None else "each image's, as the"
    assert re.search(f"groups +{expected}", str(report))


def test_groups_are_watched_in_a_training(tmp_path: Path) -> None:
    metrics = fit(tmp_path, loader(), groups="object")
    assert float(metrics["monitor/near_copies"]) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"groups": "patient"}, r"SINGCallback\(groups='patient'\) names .*'label', 'object'"),
        (
            {"batch_adapter": lambda b: Batch(b["image"], b["label"], group=b["object"][:5])},
            r"these are 5. One hashable value is needed for each of the 16 images",
        ),
        (
            {
                "batch_adapter": lambda b: Batch(b["image"], b["label"], group=b["object"]),
                "groups": "object",
            },
            "Give one of the two",
        ),
    ],
)
def test_wrong_groups_end_the_sanity_check(
    options: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(MisconfigurationException, match=sentence):
        fit(tmp_path, loader(), **options)


def test_every_batch_tells_groups_or_none() -> None:
    batches = iter(range(100))

    def adapter(batch: dict[str, Any]) -> Batch:
        group = batch["object"] if next(batches) == 0 else None
        return Batch(batch["image"], batch["label"], group=group)

    with pytest.raises(ValueError, match="this batch tells no group for its images, the first one"):
        analyze(loader(), batch_adapter=adapter)


@pytest.mark.parametrize("value", [7, "", ["object"], b"object"])
def test_the_name_of_the_groups_is_a_text(value: Any) -> None:
    with pytest.raises(MisconfigurationException, match=r"groups='patient_id'.*, or None"):
        tiny.callback(groups=value)


def test_one_group_for_all_images_is_said_to_be_one() -> None:
    assert doubts_of_groups(None) == doubts_of_groups(torch.arange(9)) == ()
    (one,) = doubts_of_groups(torch.zeros(30, dtype=torch.int64))
    assert "all 30 images are of one group" in one
    (few,) = doubts_of_groups(torch.arange(30) % 3)
    assert "3 groups" in few
    assert "no intervals" in few
