"""What the command line of the app names in the tests: models, images, a transform, a space."""

from __future__ import annotations

from PIL import Image
from torch import Tensor, float32, nn
from torch.utils.data import DataLoader
from torchvision.transforms.v2.functional import to_dtype, to_image

from tests.helpers import tiny


def validation() -> DataLoader:
    """The images of the finished run."""
    return tiny.loader(tiny.Blobs())


def other_images() -> DataLoader:
    return tiny.loader(tiny.Blobs(seed=5))


def to_input(picture: Image.Image) -> Tensor:
    """As the run saw its images."""
    return to_dtype(to_image(picture.resize((tiny.SIDE, tiny.SIDE))), float32, scale=True)


def not_scaled(picture: Image.Image) -> Tensor:
    return 255 * to_input(picture)


def max_pooled() -> tiny.Classifier:
    """Weights and head of the run's model, on the largest value of each map."""
    model = tiny.Classifier()
    assert isinstance(model.network, nn.Sequential)
    model.network[3] = nn.AdaptiveMaxPool2d(1)
    return model


def narrow() -> tiny.Classifier:
    """Another model, with five classes and eight features."""
    layers = nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    return tiny.Classifier(nn.Sequential(*layers))


class OtherSpace(tiny.HashSpace):
    name = "another"
