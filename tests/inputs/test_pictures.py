"""What the model sees and what the semantic space sees may be two things, in every way to run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from sing_monitor import analyze
from sing_monitor.errors import SetupError
from sing_monitor.explain.image import explain_image
from sing_monitor.inputs.batches import Batch, unpack_batch
from sing_monitor.space.fingerprints import fingerprint
from tests.helpers import tiny

RGB = [3, 2, 1]
NAMES = {"class_names": tiny.CLASSES}


class Bands(TensorDataset):
    """Thirteen spectral bands; the fourth, third and second are a picture."""

    def __init__(self, bands: int = 13, size: int = 32) -> None:
        g = torch.Generator().manual_seed(0)
        self.labels = torch.arange(size) % 4
        self.bands = torch.rand(size, bands, 12, 12, generator=g)
        super().__init__(self.bands, self.labels)


class SeenSpace(tiny.HashSpace):
    """Keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def encode_images(self, images: Tensor) -> Tensor:
        self.seen.append(images.clone())
        return super().encode_images(images)


# Outside the model, whose attributes the monitor puts back as they were.
TAKEN: list[Tensor] = []


class Spectral(L.LightningModule):
    """Keeps what it was shown in eval mode."""

    def __init__(self, bands: int = 13) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(bands, 8, 3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        if not self.training:
            TAKEN.append(images.clone())
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-2)


def with_picture(batch: Any) -> Batch:
    return Batch(batch[0], batch[1], pictures=batch[0][:, RGB])


def picture_alone(batch: Any) -> Batch:
    return Batch(batch[0][:, RGB], batch[1])


def run_check(model: Spectral, space: SeenSpace, adapter: Any, folder: Path) -> None:
    tiny.quick_callback(space=space, batch_adapter=adapter, **NAMES).check(
        model, DataLoader(Bands(), 8)
    )


def run_analyze(model: Spectral, space: SeenSpace, adapter: Any, folder: Path) -> None:
    loader = DataLoader(Bands(), 8)
    analyze(model, loader, space, batch_adapter=adapter, cache_dir=None, ridge=1.0, **NAMES)


def run_probe(model: Spectral, space: SeenSpace, adapter: Any, folder: Path) -> None:
    data = DataLoader(Bands(), 8)
    callback = tiny.quick_callback(space=space, batch_adapter=adapter, probe=data, **NAMES)
    tiny.trainer(folder, callback, max_epochs=1).fit(model, data)


def run_validation(model: Spectral, space: SeenSpace, adapter: Any, folder: Path) -> None:
    data = DataLoader(Bands(), 8)
    callback = tiny.quick_callback(space=space, batch_adapter=adapter, **NAMES)
    tiny.trainer(folder, callback, max_epochs=1).fit(model, data, data)


RUNS = [run_check, run_analyze, run_probe, run_validation]


@pytest.mark.parametrize("adapter", [with_picture, picture_alone])
@pytest.mark.parametrize("run", RUNS)
def test_the_model_sees_13_bands_and_the_space_3(
    run: Callable[..., None], adapter: Any, tmp_path: Path
) -> None:
    TAKEN.clear()
    model, space, bands = Spectral(), SeenSpace(), Bands().bands
    run(model, space, adapter, tmp_path)
    assert torch.equal(TAKEN[0], bands[:8])
    shown = torch.cat(space.seen)
    assert torch.equal(shown[:8], bands[:8, RGB])
    assert all(images.shape[1:] == (13, 12, 12) for images in TAKEN)


def test_pictures_that_are_not_named_are_said() -> None:
    with pytest.warns(UserWarning, match=r"sees the latter.*pictures=<what the space sees>"):
        run_check(Spectral(), SeenSpace(), picture_alone, Path())


def test_a_fault_of_the_model_is_not_hidden() -> None:
    def narrow(batch: Any) -> Batch:
        return Batch(batch[0][:, RGB], batch[1])

    with pytest.raises(
        (MisconfigurationException, SetupError), match="to have 5 channels, but got 3"
    ):
        tiny.quick_callback(batch_adapter=narrow, **NAMES).check(
            Spectral(5), DataLoader(Bands(), 8)
        )


@dataclass
class Sample:
    pixel_values: Tensor
    target: Tensor


@pytest.mark.parametrize("bands", [2, 4, 13])
@pytest.mark.parametrize(
    "form",
    [
        lambda images, labels: (images, labels),
        lambda images, labels: {"image": images, "label": labels},
        Sample,
    ],
)
def test_the_advice_on_more_channels_works_when_pasted(bands: int, form: Any) -> None:
    images, labels = Bands(bands).tensors
    batch = form(images, labels)
    with pytest.raises((MisconfigurationException, SetupError)) as caught:
        unpack_batch(batch)
    advice = re.search(r"batch_adapter=(lambda batch: Batch\(.*?\)\)?)\. If", str(caught.value))
    assert advice is not None
    adapted = unpack_batch(batch, eval(advice[1], {"Batch": Batch}))
    assert torch.equal(adapted.images, images)
    assert torch.equal(adapted.shown, images[:, : 1 if bands < 3 else 3])


def test_an_adapter_of_more_channels_is_told_of_pictures() -> None:
    with pytest.raises(
        (MisconfigurationException, SetupError), match=r"Batch\(images=..., labels=..., pictures"
    ):
        unpack_batch(Bands().tensors, lambda batch: batch)


IMAGES, LABELS = Bands().tensors


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (Batch(IMAGES, LABELS, pictures=IMAGES), r"pictures are Tensor float32 \(32, 13, 12, 12\)"),
        (Batch(IMAGES, LABELS, pictures=IMAGES[:8, :3]), "one picture for each image"),
        (Batch(IMAGES, LABELS[:8], pictures=IMAGES[:, :3]), "B=32 images"),
        ({"image": IMAGES, "label": LABELS, "pictures": LABELS}, "floating or uint8"),
    ],
)
def test_pictures_are_checked(batch: Any, sentence: str) -> None:
    with pytest.raises((MisconfigurationException, SetupError), match=sentence):
        unpack_batch(None, lambda _: batch)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(4, 7, dtype=torch.int64),
        torch.rand(4, 3, 2, 5, 5),
        {"patches": torch.rand(4, 9)},
    ],
)
def test_beside_pictures_the_model_may_see_anything(images: Any) -> None:
    pictures = torch.rand(4, 1, 8, 8)
    batch = unpack_batch(Batch(images, LABELS[:4], pictures=pictures))
    assert batch.images is images
    assert batch.shown is pictures


def test_tokens_are_analyzed_by_their_pictures() -> None:
    tokens = torch.arange(16 * 5).reshape(16, 5) % 11
    pictures = (torch.rand(16, 3, 12, 12) * 255).to(torch.uint8)
    model = nn.Sequential(nn.Embedding(11, 6), nn.Flatten(), nn.Linear(30, 4))
    space = SeenSpace()
    found = analyze(
        model,
        DataLoader(TensorDataset(tokens, LABELS[:16], pictures), 8),
        space,
        batch_adapter=lambda batch: Batch(batch[0], batch[1], pictures=batch[2]),
        cache_dir=None,
        ridge=1.0,
        **NAMES,
    )
    assert torch.equal(torch.cat(space.seen).sort(0)[0], (pictures / 255).sort(0)[0])
    expected = fingerprint(pictures)
    assert sorted(found.snapshot.image_ids.tolist()) == sorted(expected.tolist())
    rows = [expected.tolist().index(each) for each in found.snapshot.image_ids.tolist()]
    assert torch.allclose(found.snapshot.features, model[:2](tokens)[rows].detach())
    assert found.config["pixels"]["source"] == "pictures of the batch: uint8"


def test_pictures_have_a_scale_of_their_own() -> None:
    class Normalised(Bands):
        transform = v2.Normalize([0.5] * 13, [0.25] * 13)

        def __getitem__(self, index: int) -> Any:
            return self.transform(self.bands[index]), self.labels[index], self.bands[index, RGB]

    loader = DataLoader(Normalised(), 8)

    def both(batch: Any) -> Batch:
        return Batch(batch[0], batch[1], pictures=batch[2])

    report = tiny.quick_callback(batch_adapter=both, **NAMES).check(Spectral(), loader)
    assert torch.equal(report.image, Bands().bands[0, RGB])
    assert "pictures of the batch: values already in [0, 1]" in str(report)
    with pytest.raises((MisconfigurationException, SetupError), match=r"pixel_stats="):
        tiny.quick_callback(batch_adapter=with_picture, **NAMES).check(Spectral(), loader)
    report = tiny.quick_callback(
        batch_adapter=with_picture, pixel_stats=(0.5, 0.25), **NAMES
    ).check(Spectral(), loader)
    torch.testing.assert_close(report.image, Bands().bands[0, RGB])


def test_one_image_is_explained_by_its_picture() -> None:
    model, space = Spectral().network, SeenSpace()
    bands = Bands().bands
    found = explain_image(
        model,
        bands[0],
        space,
        nn.Linear(8, space.dim),
        picture=bands[0, RGB],
        class_names={name: index for index, name in reversed(list(enumerate(tiny.CLASSES)))},
        concepts=OmegaConf.create(["red"]),
    )
    assert torch.equal(space.seen[0], bands[:1, RGB])
    logits = model(bands[:1])[0].detach()
    torch.testing.assert_close(found.logits, logits.double(), atol=1e-5, rtol=0)
    assert found.prediction == tiny.CLASSES[int(logits.argmax())]
