"""Pictures as a model takes them, and where the model and its transform come from."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from sing_monitor.app.model import checkpoint
from sing_monitor.app.model.checkpoint import LoadedModel, head_name
from sing_monitor.app.model.model_images import data_set_input, upload_input
from sing_monitor.commands.app_options import ModelSource
from sing_monitor.commands.images import Images
from sing_monitor.inputs.batches import Batch
from sing_monitor.space.fingerprints import fingerprint, to_uint8
from tests.app import given
from tests.helpers import tiny

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def file_of(picture: Image.Image, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, format="PNG", **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def timm_source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """A checkpoint as timm's training script leaves it, and a folder of images."""
    folder = tmp_path_factory.mktemp("timm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("test_resnet", num_classes=4)
    torch.save({"state_dict": model.state_dict(), "arch": "test_resnet"}, folder / "last.pth.tar")
    tiny.image_folder(folder / "images", 8)
    return ModelSource(folder / "last.pth.tar", data=str(folder / "images"))


@pytest.fixture
def timm_model(timm_source: ModelSource) -> LoadedModel:
    return checkpoint.load(timm_source)


def plain_model(transform: Any, channels: int = 3) -> LoadedModel:
    return LoadedModel(nn.Sequential(nn.Conv2d(channels, 2, 3)), None, transform, False, None)


def test_a_timm_model_brings_its_transform(timm_model: LoadedModel) -> None:
    config = timm_model.model.pretrained_cfg
    stats = {"mean": list(config["mean"]), "std": list(config["std"])}
    seen = upload_input(timm_model, file_of(Image.new("RGB", (300, 200), "red")), {"pixels": stats})
    assert seen.images.shape == (1, *config["input_size"])
    torch.testing.assert_close(
        seen.pixels[0, :, 5, 5], torch.tensor([1.0, 0, 0]), atol=1e-5, rtol=0
    )


def test_uploads_and_images_of_a_folder_are_scaled_from_many_bits(
    timm_model: LoadedModel, tmp_path: Path
) -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    eight = Image.fromarray(np.round(ramp / 257).astype(np.uint8))
    config = timm_model.model.pretrained_cfg
    stats = {"mean": list(config["mean"]), "std": list(config["std"])}
    many, few = (
        upload_input(timm_model, file_of(each), {"pixels": stats}).images
        for each in (Image.fromarray(ramp), eight)
    )
    assert torch.equal(many, few)
    for name, picture in (("many", Image.fromarray(ramp)), ("few", eight)):
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "a.png")
    images = Images(str(tmp_path), batch_size=1, workers=0).loader(timm_model.model).dataset
    assert torch.equal(images[0][0], images[1][0])


def test_a_run_of_another_normalization_refuses_timm_s_transform(timm_model: LoadedModel) -> None:
    content = file_of(Image.new("RGB", (30, 30)))
    with pytest.raises(ValueError, match=r"mean \[0.1, 0.1, 0.1\].*--transform module:name"):
        upload_input(timm_model, content, {"pixels": {"mean": [0.1] * 3, "std": [0.1] * 3}})


def test_a_folder_of_images_has_timm_s_transform(timm_model: LoadedModel) -> None:
    assert timm_model.is_timm
    config = {"pixels": {key: list(timm_model.model.pretrained_cfg[key]) for key in IMAGENET}}
    with pytest.raises(ValueError, match="is not the one that the run was validated on"):
        data_set_input(timm_model, 3, 0, config)
    wanted = upload_input(
        timm_model, Path(timm_model.loader.dataset.samples[3][0]).read_bytes(), config
    )
    seen = data_set_input(timm_model, 3, wanted.image_id, config)
    torch.testing.assert_close(seen.images, wanted.images)
    with pytest.raises(ValueError, match="has no image 99"):
        data_set_input(timm_model, 99, 0, config)
    with pytest.raises(ValueError, match="There is no data set"):
        data_set_input(replace(timm_model, loader=None), 3, 0, config)


def test_a_picture_gets_upright_and_loses_its_transparency() -> None:
    picture = Image.new("RGBA", (20, 10), (0, 0, 255, 128))
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was held upright
    shapes = []

    def look(image: Image.Image) -> Tensor:
        shapes.append((image.mode, image.size))
        return given.to_input(image)

    upload_input(plain_model(look), file_of(picture, exif=exif), {})
    upload_input(plain_model(look, channels=1), file_of(Image.new("P", (4, 4))), {})
    assert shapes == [("RGB", (10, 20)), ("L", (4, 4))]


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (lambda image: image, "gives a Image; expected a tensor"),
        (lambda image: torch.zeros(2, 3, 4, 4), r"gives a Tensor \(2, 3, 4, 4\)"),
        (lambda image: 1 / 0, "ZeroDivisionError"),
        (lambda image: torch.full((3, 4, 4), 7.0), "values from 7 to 7"),
    ],
)
def test_a_transform_that_gives_no_image_is_said_to(transform: Any, said: str) -> None:
    content = file_of(Image.new("RGB", (8, 8)))
    with pytest.raises(ValueError, match=said):
        upload_input(plain_model(transform), content, {"pixels": IMAGENET})


def test_the_head_of_a_run_is_found_in_the_whole_and_in_its_part() -> None:
    whole = tiny.Classifier()
    config = {"head": "network.6"}
    assert head_name(whole, config) == "network.6"
    assert head_name(whole.network, config) == "6"
    assert head_name(nn.Linear(2, 2), config) is None
    assert head_name(whole, {}) is None


def test_the_transform_of_wrapped_data_is_found(
    timm_source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(TensorDataset):
        transform = staticmethod(given.to_input)

    loader = DataLoader(Subset(Own(torch.zeros(4, 2)), [1, 2]))
    monkeypatch.setattr(given, "validation", lambda: loader)
    found = checkpoint.load(replace(timm_source, data="tests.app.given:validation"))
    assert found.transform is given.to_input
    assert not found.is_timm


def test_pictures_beside_what_the_model_takes() -> None:
    bands = torch.rand(4, 5, 12, 12, generator=torch.Generator().manual_seed(0))
    config = {"pixels": {"mean": [0.0], "std": [1.0], "source": "pictures of the batch: uint8"}}

    def collate(rows: Any) -> Batch:
        images, labels = (torch.stack(column) for column in zip(*rows, strict=True))
        return Batch(images, labels, pictures=images[:, :3])

    loader = DataLoader(TensorDataset(bands, torch.arange(4)), collate_fn=collate)
    model = replace(plain_model(lambda _: bands[0], 5), loader=loader)
    image_id = int(fingerprint(to_uint8(bands[2:3, :3])))
    seen = data_set_input(model, 2, image_id, config)
    assert torch.equal(seen.images, bands[2:3])
    assert torch.equal(seen.pixels, bands[2:3, :3])
    assert torch.equal(seen.restore(seen.images), seen.pixels)
    with pytest.raises(ValueError, match="Choose an image of the data set"):
        upload_input(model, file_of(Image.new("RGB", (12, 12))), config)
