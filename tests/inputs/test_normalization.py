"""The Normalize of real libraries is found where it stands, and undone to the very pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import kornia.augmentation as K
import kornia.enhance
import numpy as np
import pytest
import timm
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from timm.data import create_loader
from timm.data.loader import PrefetchLoader, fast_collate
from torch import Tensor, nn
from torch.utils.data import ChainDataset, ConcatDataset, DataLoader, Dataset, StackDataset, Subset
from torchvision.transforms import v2

from sing_monitor import analyze
from sing_monitor.errors import SetupError
from sing_monitor.inputs.batches import Batch
from sing_monitor.inputs.normalization import dataset_stats, loader_stats
from sing_monitor.inputs.pixels import find_pixel_scale
from tests.helpers import tiny

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OTHER = ((0.2, 0.3, 0.4), (0.1, 0.2, 0.3))


class Pictures(Dataset[tuple[Tensor, int]]):
    """Pictures of 256 levels, low in contrast, through a transform."""

    classes = tiny.CLASSES

    def __init__(self, transform: Any = None, size: int = 8) -> None:
        g = torch.Generator().manual_seed(0)
        self.levels = torch.randint(40, 200, (size, 3, 12, 12), generator=g, dtype=torch.uint8)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.levels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.seen(self.levels[index]), index % 4

    def seen(self, levels: Tensor) -> Any:
        pixels = levels / 255
        return pixels if self.transform is None else self.transform(pixels)


class Levels(Pictures):
    """For transforms of tensors that count in 0..255."""

    def seen(self, levels: Tensor) -> Any:
        return self.transform(levels.float())


class Albumented(Pictures):
    """For albumentations: arrays (H, W, c), of 256 levels or in [0, 1]."""

    def __init__(self, transform: Any, is_float: bool = False) -> None:
        super().__init__(transform)
        self.is_float = is_float

    def seen(self, levels: Tensor) -> Any:
        array = levels.permute(1, 2, 0).numpy()
        if self.is_float:
            array = array.astype(np.float32) / 255
        return torch.from_numpy(self.transform(image=array)["image"]).permute(2, 0, 1)


class Batched(Pictures):
    """For kornia, whose images come back with a leading axis of 1."""

    def seen(self, levels: Tensor) -> Any:
        return self.transform(levels[None] / 255)[0]


class Holder(Dataset[Any]):
    """A wrapper that keeps its data set under a name of its own."""

    def __init__(self, inner: Dataset[Any]) -> None:
        self.under_any_name = inner


def images_of(data: Dataset[Any]) -> Tensor:
    return next(iter(DataLoader(data, 8)))[0]


def make_timm(**options: Any) -> nn.Module:
    return timm.create_model("test_resnet", num_classes=4, **options)


TRANSFORMS: dict[str, Callable[[], Pictures]] = {
    "torchvision": lambda: Pictures(v2.Compose([v2.Identity(), v2.Normalize(MEAN, STD)])),
    "mean 0 and std 255": lambda: Levels(v2.Normalize([0.0] * 3, [255.0] * 3)),
    "mean in 0..255, std 1": lambda: Levels(v2.Normalize([123.0, 116, 103], [1.0] * 3)),
    "std below 1 in 0..255": lambda: Levels(v2.Normalize([110.0] * 3, [0.5] * 3)),
    "mean 0.5 and std 2": lambda: Pictures(v2.Normalize([0.5] * 3, [2.0] * 3)),
    "kornia, augmentation": lambda: Batched(K.Normalize(torch.tensor(MEAN), torch.tensor(STD))),
    "kornia, one number": lambda: Batched(K.Normalize(0.5, 0.25)),
    "kornia, enhance": lambda: Batched(kornia.enhance.Normalize(MEAN, STD)),
    "kornia, in a sequence": lambda: Batched(
        nn.Sequential(K.AugmentationSequential(K.Normalize(MEAN, STD), data_keys=["input"]))
    ),
    "kornia, tensors of (1, c)": lambda: Batched(
        kornia.enhance.Normalize(torch.tensor([MEAN]), torch.tensor([STD]))
    ),
    "albumentations": lambda: Albumented(A.Compose([A.NoOp(), A.Normalize()])),
    "albumentations, in [0, 1]": lambda: Albumented(
        A.Normalize(mean=MEAN, std=STD, max_pixel_value=1.0), is_float=True
    ),
    "albumentations, 0..255 in so many words": lambda: Albumented(
        A.Normalize(mean=(123.0, 116, 103), std=(58.0, 57, 57), max_pixel_value=1.0)
    ),
    "albumentations, by min and max": lambda: Albumented(A.Normalize(normalization="min_max")),
}


@pytest.mark.parametrize("make", TRANSFORMS.values(), ids=list(TRANSFORMS))
def test_what_was_normalised_is_undone(make: Callable[[], Pictures]) -> None:
    data = make()
    images = images_of(data)
    restored = find_pixel_scale(None, data, images, make_timm()).restore(images)
    pixels = data.levels / 255
    if getattr(data.transform, "normalization", "") == "min_max":
        low, high = (edge(pixels, dim=(1, 2, 3), keepdim=True) for edge in (torch.amin, torch.amax))
        pixels = (pixels - low) / (high - low)
    torch.testing.assert_close(restored, pixels, atol=1e-4, rtol=0)


def test_statistics_of_each_image_cannot_be_undone() -> None:
    data = Albumented(A.Normalize(normalization="image"))
    with pytest.raises(SetupError, match="pixel_stats"):
        find_pixel_scale(None, data, images_of(data), make_timm())


def arrays(data: Pictures) -> Any:
    """As timm's own data sets hand images to its prefetcher."""
    return [(picture.numpy(), label % 4) for label, picture in enumerate(data.levels)]


@pytest.mark.parametrize("stats", [((0.5,) * 3, (0.5,) * 3), (MEAN, STD), ((0.0,) * 3, (1.0,) * 3)])
def test_a_loader_that_normalises_says_how(stats: Any) -> None:
    data = Pictures()
    inner = DataLoader(arrays(data), 8, collate_fn=fast_collate)  # type: ignore[arg-type]
    loader = PrefetchLoader(inner, *stats, device=torch.device("cpu"))
    images = next(iter(loader))[0]
    scale = find_pixel_scale(None, loader.dataset, images, make_timm(), loader=loader)
    assert scale.source == "statistics of the loader itself"
    assert scale.mean == pytest.approx(stats[0], abs=1e-6)
    torch.testing.assert_close(scale.restore(images), data.levels / 255, atol=1e-4, rtol=0)


def test_timms_own_loader_is_read_in_a_check() -> None:
    class Files(Dataset[Any]):
        transform: Any = None
        classes = tiny.CLASSES

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            picture = v2.functional.to_pil_image(Pictures().levels[index])
            return self.transform(picture), index % 4

    loader = create_loader(
        Files(),
        12,
        8,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        crop_pct=1.0,
        num_workers=0,
        persistent_workers=False,
        device=torch.device("cpu"),
    )
    report = tiny.quick_callback().check(make_timm(), loader)
    assert "statistics of the loader itself; mean 0.5, std 0.5" in str(report)
    torch.testing.assert_close(report.image, Pictures().levels[0] / 255, atol=1e-4, rtol=0)


def test_loaders_without_statistics() -> None:
    assert loader_stats(None) == loader_stats(DataLoader([0])) == []  # type: ignore[arg-type]


def normalised(mean: Any = MEAN, std: Any = STD) -> Pictures:
    return Pictures(v2.Normalize(mean, std))


def stats_of(data: Dataset[Any]) -> Any:
    return dataset_stats(data, lambda stats: (tuple(stats[0]), tuple(stats[1])))


@pytest.mark.parametrize(
    "data",
    [
        ConcatDataset([normalised(), normalised()]),
        ConcatDataset([Subset(normalised(), [0]), ConcatDataset([normalised()])]),
        ChainDataset([normalised(), normalised()]),
        StackDataset(normalised(), Pictures()),
        StackDataset(image=normalised(), mask=Pictures()),
        Holder(Subset(normalised(), [0])),
        Holder(ConcatDataset([normalised(), normalised()])),
    ],
)
def test_parts_that_agree(data: Dataset[Any]) -> None:
    assert stats_of(data) == [(MEAN, STD)]


def test_a_data_set_that_knows_its_wrapper() -> None:
    inner = normalised()
    outer = Holder(inner)
    inner.parent = outer  # type: ignore[attr-defined]
    assert stats_of(outer) == [(MEAN, STD)]


@pytest.mark.parametrize(
    ("parts", "sentences"),
    [
        ([normalised(), normalised(*OTHER)], ["datasets[0] (Pictures)", "datasets[1]", "0.2"]),
        ([normalised(), Pictures()], ["datasets[1] (Pictures) with no Normalize", "0.485"]),
        ([Pictures(), Subset(normalised(), [0])], ["datasets[1] (Subset)", "0.485"]),
    ],
)
def test_parts_that_differ_are_named(parts: list[Any], sentences: list[str]) -> None:
    data = ConcatDataset(parts)
    for wrapped in (data, Subset(data, [0, 1]), ConcatDataset([data, data]), Holder(data)):
        with pytest.raises(SetupError) as caught:
            find_pixel_scale(None, wrapped, torch.rand(2, 3, 4, 4), None)
        for sentence in ("ConcatDataset", "normalized differently", "pictures=", *sentences):
            assert sentence in str(caught.value)


def test_the_advice_on_parts_that_differ_works() -> None:
    data = ConcatDataset([normalised(), Pictures(v2.Identity())])
    loader = DataLoader(data, 16)
    with pytest.raises((MisconfigurationException, SetupError), match="normalized differently"):
        tiny.quick_callback().check(make_timm(), loader)
    alike = DataLoader(ConcatDataset([normalised(), normalised()]), 16)
    report = tiny.quick_callback().check(make_timm(), alike)
    torch.testing.assert_close(report.image, Pictures().levels[0] / 255, atol=1e-4, rtol=0)
    pictures = torch.cat([Pictures().levels / 255] * 2)
    adapted = tiny.quick_callback(
        batch_adapter=lambda batch: {"image": batch[0], "label": batch[1], "pictures": pictures}
    ).check(make_timm(), loader)
    torch.testing.assert_close(adapted.image, pictures[0])


class ByHand(Dataset[Any]):
    """Pictures that the code of the data set itself normalises."""

    def __init__(self, mean: float, std: float) -> None:
        self.mean, self.std = mean, std

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return (Pictures().levels[index] / 255 - self.mean) / self.std, index % 4


def test_a_later_batch_of_another_scale_is_refused(tmp_path: Path) -> None:
    data = ConcatDataset([Pictures(), ByHand(0.5, 0.1)])
    names = {"class_names": tiny.CLASSES, "batch_adapter": None}
    with pytest.raises(ValueError, match="A later batch has another scale than the first"):
        analyze(make_timm(), DataLoader(data, 4), tiny.HashSpace(), cache_dir=None, **names)
    callback = tiny.quick_callback(**names)
    with pytest.raises((MisconfigurationException, SetupError), match="another scale"):
        tiny.trainer(tmp_path, callback).fit(
            tiny.Classifier(), DataLoader(data, 4), DataLoader(data, 8)
        )
    names["batch_adapter"] = lambda batch: Batch(
        batch[0], batch[1], pictures=Pictures().levels[: len(batch[0])]
    )
    loader = DataLoader(data, 4)
    found = analyze(make_timm(), loader, tiny.HashSpace(), cache_dir=None, ridge=1.0, **names)
    assert found.config["pixels"]["source"] == "pictures of the batch: uint8"
